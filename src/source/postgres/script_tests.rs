//! How a dump is cut, and what is refused.

use super::*;

const DUMP: &str = "--\n-- PostgreSQL database dump\n--\n\\restrict abc123\n\nSET a = 1;\n\
    CREATE FUNCTION f() RETURNS text LANGUAGE sql AS $_$\nCOPY x FROM stdin;\n\\! rm; select '$$'; $_$;\n\
    CREATE FUNCTION g() RETURNS int\n BEGIN ATOMIC\n SELECT CASE WHEN true THEN 1 END;\n SELECT 2;\nEND;\n\
    COMMENT ON TABLE \"a;\\b\" IS 'it''s; \\ fine'; SELECT E'\\';\\'' /* ; /* \\! */ ; */, (1);\n\
    -- Data; \\x\nCOPY public.t (a) FROM stdin;\n1\n\\N\tx;\n\\\\.\n\\.\n\n\
    COPY public.none (a) FROM stdin;\n\\.\n\nCREATE RULE r AS ON UPDATE TO t DO (SELECT 1; SELECT 2);\n\
    \\unrestrict abc123\n";

fn cut(text: &[u8], step: usize) -> Result<Vec<Piece>, String> {
    let (mut script, mut pieces): (_, Vec<Piece>) = (Script::new(), Vec::new());
    let mut add = |piece: Piece| match (pieces.last_mut(), piece) {
        (Some(Piece::Rows(before)), Piece::Rows(more)) => before.extend(more),
        (_, piece) => pieces.push(piece),
    };
    for part in text.chunks(step) {
        script.push(part);
        while let Some(piece) = script.next(false)? {
            add(piece);
        }
    }
    while let Some(piece) = script.next(true)? {
        add(piece);
    }
    Ok(pieces)
}

#[test]
fn a_dump_is_cut_the_same_however_it_comes() {
    let whole = cut(DUMP.as_bytes(), DUMP.len()).unwrap();
    let statements: Vec<&str> = whole
        .iter()
        .filter_map(|piece| match piece {
            Piece::Statement(text) => Some(text.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(statements.len(), 6, "{statements:#?}");
    assert!(statements[1].starts_with("CREATE FUNCTION f()") && statements[1].ends_with("$_$;"));
    assert!(statements[2].ends_with("SELECT 2;\nEND;"), "{}", statements[2]);
    assert_eq!(statements[4], "SELECT E'\\';\\'' /* ; /* \\! */ ; */, (1);");
    assert!(statements[5].ends_with("(SELECT 1; SELECT 2);"));
    let rows = Piece::Rows(b"1\n\\N\tx;\n\\\\.\n".to_vec());
    assert_eq!(whole[6..8], [rows, Piece::RowsEnd]);
    assert_eq!(
        whole[8..10],
        [
            Piece::Copy("COPY public.none (a) FROM stdin;".to_owned()),
            Piece::RowsEnd
        ]
    );
    for step in 1..40 {
        assert_eq!(cut(DUMP.as_bytes(), step).unwrap(), whole, "{step} bytes at a time");
    }
}

#[test]
fn what_psql_would_obey_is_refused_wherever_it_stands() {
    for hostile in [
        "\\! touch /tmp/x\n",
        "SELECT 1 \\g |sh\n",
        "SELECT 1;\\! sh\n",
        "\\restrict a; \\! sh\n",
        "SELECT '\\' \\! sh\n;",
        "SELECT $a$ $a$ \\copy t from program 'sh'\n",
        "\\connect other\n",
        "COPY t FROM stdin;\n1\n\\.\n\\i /etc/passwd\n",
    ] {
        let error = cut(hostile.as_bytes(), 7).unwrap_err();
        assert!(error.contains("psql"), "{hostile}: {error}");
    }
    for half in ["SELECT 1", "SELECT 'a;\n", "COPY t FROM stdin;\n1\n", "/* ;\n"] {
        assert!(cut(half.as_bytes(), 5).unwrap_err().contains("end"), "{half}");
    }
}

use std::path::PathBuf;

use super::*;
use crate::domain::runbook::action::Action;

pub(super) fn read(files: &[(&str, &str)]) -> (BTreeMap<RunbookName, Runbook>, Vec<String>) {
    let files: Vec<SourceFile> = files
        .iter()
        .map(|(name, text)| SourceFile {
            path: PathBuf::from(format!("/etc/lifeboat/runbooks/{name}.toml")),
            text: (*text).to_owned(),
        })
        .collect();
    let mut problems = Problems::default();
    let built = build(&files, &mut problems);
    let said = problems
        .0
        .iter()
        .map(|problem| format!("{}: {}: {}", problem.line, problem.key, problem.message));
    (built, said.collect())
}

const HEAD: &str = "title = \"t\"\nwhy = \"w\"\n";

#[test]
fn what_comes_with_the_program_is_sound() {
    let (built, problems) = read(&[]);
    assert_eq!(problems, [""; 0]);
    assert_eq!(built.len(), shipped::files().len());
    for runbook in built.values() {
        assert_eq!(runbook.hash.len(), 64);
        let text = serde_json::to_string(runbook).unwrap();
        assert_eq!(serde_json::from_str::<Runbook>(&text).unwrap(), *runbook, "{text}");
    }
}

#[test]
fn a_runbook_in_a_runbook_gets_the_name_of_its_step() {
    let inner = format!(
        "{HEAD}[variable.who]\ntype = \"text\"\nask = \"who\"\n\
         [[step]]\nid = \"greet\"\nkind = \"command\"\ncommand = [\"echo\", \"{{who}}\", \"{{run}}\"]\n\
         [[step]]\nid = \"tell\"\nkind = \"notify\"\nmessage = \"{{greet.output}}\"\ncommand = [\"cat\"]\n"
    );
    let outer_text = format!(
        "{HEAD}[variable.name]\ntype = \"text\"\nask = \"name\"\n\
         [[step]]\nid = \"first\"\nkind = \"runbook\"\nrunbook = \"inner\"\nset = {{ who = \"Dr {{name}}\" }}\n\
         when = [\"{{mode}} = real\"]\n"
    );
    let (built, problems) = read(&[("inner", &inner), ("outer", &outer_text)]);
    assert_eq!(problems, [""; 0]);
    let outer = &built[&RunbookName::from("outer")];
    let names: Vec<&str> = outer.steps.iter().map(|step| step.id.as_str()).collect();
    assert_eq!(names, ["first.greet", "first.tell"]);
    assert_eq!(outer.variables[1].name, "first.who");
    assert_eq!(outer.variables[1].default.as_ref().unwrap().to_string(), "Dr {name}");
    let Action::Command(command) = &outer.steps[0].action else {
        panic!()
    };
    assert_eq!(command.command[1].to_string(), "{first.who}");
    assert_eq!(command.command[2].to_string(), "{run}");
    assert_eq!(outer.steps[1].when.len(), 1);
    // Remarks and order of options do not make another runbook; words do.
    let (again, _) = read(&[
        ("inner", &format!("# a remark\n{inner}")),
        ("outer", &outer_text.replace("Dr", "Mr")),
    ]);
    assert_eq!(
        again[&RunbookName::from("inner")].hash,
        built[&RunbookName::from("inner")].hash
    );
    assert_ne!(again[&RunbookName::from("outer")].hash, outer.hash);
}

#[test]
fn what_a_step_finds_out_is_handed_on_to_a_runbook_that_is_used() {
    let inner = format!(
        "{HEAD}[variable.who]\ntype = \"text\"\nask = \"who\"\n\
         [[step]]\nid = \"greet\"\nkind = \"command\"\ncommand = [\"echo\", \"{{who}}\"]\n\
         [[step]]\nid = \"note\"\nkind = \"sql\"\nat = {{ socket = \"/tmp\" }}\nstatement = \"select {{who:literal}}\"\n"
    );
    let outer = |set: &str| {
        format!(
            "{HEAD}[[step]]\nid = \"ask\"\nkind = \"command\"\ncommand = [\"whoami\"]\n\
             [[step]]\nid = \"use\"\nkind = \"runbook\"\nrunbook = \"inner\"\nset = {{ who = \"{set}\" }}\n"
        )
    };
    let (built, problems) = read(&[("inner", &inner), ("outer", &outer("{ask.output}"))]);
    assert_eq!(problems, [""; 0]);
    let runbook = &built[&RunbookName::from("outer")];
    assert_eq!(runbook.variables, [], "nobody is asked for it");
    let texts: Vec<String> = runbook.steps[1..]
        .iter()
        .map(|step| match &step.action {
            Action::Command(command) => command.command[1].to_string(),
            Action::Sql(sql) => sql.statement.to_string(),
            _ => panic!(),
        })
        .collect();
    assert_eq!(texts, ["{ask.output}", "select {ask.output:literal}"]);
    for (set, wrong) in [
        ("Dr {ask.output}", "its default refers to {ask.output}"),
        ("{ask.colour}", "its default refers to {ask.colour}"),
        ("{use.output}", "its default refers to {use.output}"),
    ] {
        let (_, problems) = read(&[("inner", &inner), ("outer", &outer(set))]);
        assert!(
            problems.iter().any(|problem| problem.contains(wrong)),
            "{set}: {problems:?}"
        );
    }
}

#[test]
fn mistakes_are_found_with_their_line_and_what_was_expected() {
    let cases: [(&str, &str); 18] = [
        (
            "[[step]]\nid = \"a\"\nkind = \"fense\"\n",
            "5: step.a.kind: there is no kind \"fense\"",
        ),
        (
            "[[step]]\nid = \"a\"\nkind = \"manual\"\n",
            "3: step.a.instruction: it is missing, and has no default",
        ),
        (
            "[[step]]\nid = \"a\"\nkind = \"manual\"\ninstruction = \"x {y}\"\n",
            "6: step.a.instruction: nothing says what {y} is",
        ),
        (
            "[[step]]\nid = \"a\"\nkind = \"manual\"\ninstruction = \"x {\"\n",
            "6: step.a.instruction: a { without a }",
        ),
        (
            "[[step]]\nid = \"a\"\nkind = \"manual\"\ninstruction = \"x\"\ncolour = \"red\"\n",
            "7: step.a.colour: there is no such option",
        ),
        (
            "[[step]]\nid = \"a\"\nkind = \"manual\"\ninstruction = \"x\"\ntimeout = \"soon\"\n",
            "7: step.a.timeout:",
        ),
        (
            "[[step]]\nid = \"a\"\nkind = \"manual\"\ninstruction = \"x\"\nclass = \"twice\"\n",
            "7: step.a.class:",
        ),
        (
            "[[step]]\nid = \"a\"\nkind = \"check\"\n",
            "step.a.verify: nothing is checked",
        ),
        (
            "[[step]]\nid = \"a\"\nkind = \"check\"\nverify = [{ check = \"mood\" }]\n",
            "6: step.a.verify.check: there is no check \"mood\"",
        ),
        (
            "[[step]]\nid = \"a\"\nkind = \"check\"\nverify = [{ check = \"path\", path = \"/x\", exist = true }]\n",
            "6: step.a.verify.exist:",
        ),
        (
            "[[step]]\nid = \"a\"\nkind = \"wait\"\nfor = \"soon\"\n",
            "step.a.for: \"soon\" is not a duration",
        ),
        (
            "[[step]]\nid = \"a\"\nkind = \"route\"\nto = \"x\"\n",
            "step.a.command: it is done either by a program",
        ),
        (
            "[[step]]\nid = \"a\"\nkind = \"sql\"\nat = { source = \"s\" }\nstatement = \"drop table {by}\"\n",
            "step.a.statement: {by} stands in a statement without quotes",
        ),
        (
            "[[step]]\nid = \"a\"\nkind = \"command\"\ncommand = [\"echo {by}\"]\nshell = true\n",
            "step.a.command: a value in a line for a shell",
        ),
        (
            "[[step]]\nid = \"a\"\nkind = \"runbook\"\nrunbook = \"self\"\n",
            "a runbook that uses itself never ends: self → self",
        ),
        (
            "[[step]]\nid = \"a\"\nkind = \"runbook\"\nrunbook = \"gone\"\n",
            "there is no runbook \"gone\"",
        ),
        (
            "[variable.m]\ntype = \"member\"\nask = \"m\"\n[[step]]\nid = \"a\"\nkind = \"manual\"\ninstruction = \"x\"\n",
            "variable.m.cluster: there is no variable \"cluster\"",
        ),
        (
            "[[step]]\nid = \"a\"\nkind = \"manual\"\ninstruction = \"x\"\n[[step]]\nid = \"a\"\nkind = \"manual\"\ninstruction = \"x\"\n",
            "step.a.id: another step has this name",
        ),
    ];
    for (text, expected) in cases {
        let (_, problems) = read(&[("self", &format!("{HEAD}{text}"))]);
        assert!(
            problems.iter().any(|found| found.contains(expected)),
            "{text}\n{expected}\n{problems:#?}"
        );
    }
}

#[test]
fn circles_over_several_files_are_named() {
    let of = |other: &str| format!("{HEAD}[[step]]\nid = \"s\"\nkind = \"runbook\"\nrunbook = \"{other}\"\n");
    let (built, problems) = read(&[("a", &of("b")), ("b", &of("c")), ("c", &of("a"))]);
    assert!(
        problems.iter().any(|found| found.contains("a → b → c → a")),
        "{problems:#?}"
    );
    assert!(!built.contains_key(&RunbookName::from("a")));
}

#[test]
fn runbooks_that_use_two_each_are_not_gone_through_without_end() {
    let uses = |other: usize| format!("kind = \"runbook\"\nrunbook = \"n{other}\"\n");
    let mut files: Vec<(String, String)> = (0..40)
        .map(|at| {
            let next = uses(at + 1);
            let text = format!("{HEAD}[[step]]\nid = \"a\"\n{next}[[step]]\nid = \"b\"\n{next}");
            (format!("n{at}"), text)
        })
        .collect();
    let last = format!("{HEAD}[[step]]\nid = \"a\"\nkind = \"manual\"\ninstruction = \"x\"\n");
    files.push(("n40".to_owned(), last));
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_str()))
        .collect();
    let (built, problems) = read(&files);
    assert!(
        problems.iter().any(|problem| problem.contains("more than 200 steps")),
        "{problems:?}"
    );
    assert!(built.contains_key(&RunbookName::from("n38")) && !built.contains_key(&RunbookName::from("n0")));
}

#[test]
fn a_document_is_enough_when_this_program_is_gone() {
    let (built, _) = read(&[]);
    for runbook in built.values() {
        let text = crate::domain::runbook::show::document(runbook);
        for step in &runbook.steps {
            let says_itself = matches!(
                step.action,
                Action::Manual(_)
                    | Action::Check(_)
                    | Action::Wait(_)
                    | Action::Choose(_)
                    | Action::Approve(_)
                    | Action::Command(_)
                    | Action::Http(_)
                    | Action::Sql(_)
                    | Action::Notify(_)
                    | Action::Route(_)
            );
            // These are about this program alone.
            let ours = matches!(step.action, Action::FindClean(_) | Action::Drill(_) | Action::Backup(_));
            let by_hand = step.action.by_hand();
            assert!(
                says_itself || ours || by_hand.is_some_and(|line| text.contains(&line)),
                "{}: {}",
                runbook.name,
                step.id
            );
        }
        for part in ["## Have ready", "## Keep in mind", "## When it is over"] {
            assert!(text.contains(part), "{} has no {part}", runbook.name);
        }
        let first = |word: &str| text.find(word).unwrap_or(usize::MAX);
        assert!(first("## Keep in mind") < first("## Steps"), "{}", runbook.name);
    }
}

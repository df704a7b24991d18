//! Runbooks in words: what an action does, the document for people, the plan of an execution.

use std::fmt::Write as _;

use super::action::{Action, Server, ServiceDo};
use super::check::{command_words, quoted};
use super::template::{Template, Values, spoken};
use super::{Class, InDrill, OnFailure, Runbook, Step, Undo, VariableKind};
use crate::domain::units::Millis;

impl Action {
    /// Exactly what it does, in a line; with its values in place when it has been resolved.
    pub fn words(&self) -> String {
        match self {
            Self::Manual(act) => spoken(&act.instruction.text()),
            Self::Check(_) => "ask the checks below".to_owned(),
            Self::Wait(act) => match &act.length {
                Some(length) => format!("wait {}", length.text()),
                None => "wait until the checks below hold".to_owned(),
            },
            Self::Choose(act) => format!("choose {}: {}", act.variable, spoken(&act.question.text())),
            Self::Approve(act) => format!("agree: {}", spoken(&act.question.text())),
            Self::Backup(act) => format!("lifeboat job run {} --wait", act.job.text()),
            Self::Restore(act) => {
                let includes = act.include.iter().fold(String::new(), |mut all, one| {
                    let _ = write!(all, " --include {}", one.text());
                    all
                });
                let delta = if act.delta { " --delta" } else { "" };
                let (snapshot, target) = (act.snapshot.text(), act.target.text());
                format!("lifeboat restore {snapshot} --target {target}{includes}{delta}")
            }
            Self::Recover(act) => {
                let (source, to, target) = (act.source.text(), act.to.text(), act.target.text());
                format!("lifeboat recover {source} --to '{to}' --target {target} --pause")
            }
            Self::Verify(act) => format!("lifeboat snapshot verify {} --level {}", act.snapshot.text(), act.level),
            Self::Drill(act) => format!("lifeboat drill run {}", act.drill.text()),
            Self::Fence(act) => {
                let gone = act.gone.as_ref().is_some_and(|gone| gone.text() == "true");
                member_words("fence", &act.cluster, &act.member, if gone { " --gone" } else { "" })
            }
            Self::Unfence(act) => member_words("unfence", &act.cluster, &act.member, ""),
            Self::Replay(act) => member_words("wait", &act.cluster, &act.member, ""),
            Self::Promote(act) => {
                let loss = act.allow_loss.as_ref();
                let loss = loss.map_or_else(String::new, |loss| format!(" --allow-loss {}", loss.text()));
                member_words("promote", &act.cluster, &act.member, &loss)
            }
            Self::Rewind(act) => {
                let verb = if act.clone { "reclone" } else { "rewind" };
                member_words(verb, &act.cluster, &act.member, " --stop")
            }
            Self::Service(act) => match (&act.unit, &act.member) {
                (Some(unit), _) => format!("systemctl {} {}", act.act.word(), unit.text()),
                (None, Some(member)) => format!("{} the server {}", act.act.word(), member.text()),
                (None, None) => act.act.word().to_owned(),
            },
            Self::Route(act) => match &act.url {
                Some(url) => request_words(
                    &act.method.as_ref().map_or("POST".to_owned(), Template::text),
                    url,
                    act.body.as_ref(),
                ),
                None => command_words(&act.command),
            },
            Self::Command(act) if act.shell => {
                let line = act.command.first().map(Template::text).unwrap_or_default();
                format!("sh -c {}", quoted(&line))
            }
            Self::Command(act) => command_words(&act.command),
            Self::Http(act) => {
                let method = act.method.as_ref().map_or("GET".to_owned(), Template::text);
                request_words(&method, &act.url, act.body.as_ref())
            }
            Self::Sql(act) => {
                let expect = act.expect.as_ref();
                let expect = expect.map_or_else(String::new, |expect| format!(" -- has to be {expect}"));
                format!("at {}: {}{expect}", act.at.words(), act.statement.text())
            }
            Self::Notify(act) => {
                let by = act
                    .url
                    .as_ref()
                    .map_or_else(|| command_words(&act.command), |url| format!("POST {}", url.text()));
                format!("tell: {} (by {by})", act.message.text())
            }
            Self::FindClean(act) => format!("lifeboat snapshot find-clean {}", act.job.text()),
        }
    }
}

fn request_words(method: &str, url: &Template, body: Option<&Template>) -> String {
    let body = body.map_or_else(String::new, |body| format!(" with {}", body.text()));
    format!("{method} {}{body}", url.text())
}

fn member_words(verb: &str, cluster: &Template, member: &Template, options: &str) -> String {
    format!("lifeboat cluster {verb} {} {}{options}", cluster.text(), member.text())
}

impl ServiceDo {
    /// What takes it back.
    pub const fn opposite(self) -> Option<Self> {
        match self {
            Self::Start => Some(Self::Stop),
            Self::Stop => Some(Self::Start),
            Self::Restart => None,
        }
    }
}

impl Server {
    /// Whether exactly one server is named.
    pub fn is_one(&self) -> bool {
        matches!(
            (&self.source, &self.cluster, &self.member, &self.socket),
            (Some(_), None, None, None) | (None, None, None, Some(_)) | (None, Some(_), Some(_), None)
        )
    }
}

/// The document as Markdown, from the same table that is executed.
pub fn document(runbook: &Runbook) -> String {
    let mut text = format!("# {}\n\n{}\n\n", runbook.title, runbook.why.trim());
    let objective = runbook
        .objective
        .map_or_else(|| "what the service promises".to_owned(), |rto| rto.to_string());
    let file = runbook.file.as_deref().unwrap_or("comes with the program");
    let _ = writeln!(
        text,
        "- name: `{}` ({file})\n- version: `{}`\n- time: {objective}\n",
        runbook.name,
        runbook.short_hash()
    );
    list(&mut text, "Have ready", &runbook.before);
    list(&mut text, "Keep in mind", &runbook.during);
    if !runbook.variables.is_empty() {
        text.push_str("## Has to be known\n\n| name | what | default |\n| --- | --- | --- |\n");
        for variable in &runbook.variables {
            let default = variable.default.as_ref().map_or(String::new(), ToString::to_string);
            let default = if variable.chosen {
                "chosen on the way".to_owned()
            } else {
                default
            };
            let _ = writeln!(
                text,
                "| `{}` | {} ({}) | {} |",
                variable.name,
                cell(&variable.ask),
                kind_words(&variable.kind),
                cell(&default)
            );
        }
        text.push('\n');
    }
    text.push_str("## Steps\n\n");
    for (number, step) in (1..).zip(&runbook.steps) {
        step_lines(&mut text, number, step);
    }
    list(&mut text, "When it is over", &runbook.after);
    text
}

/// A text in a table: one line, and no border of a cell.
fn cell(text: &str) -> String {
    text.split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .replace('|', "\\|")
}

/// Which values a variable takes.
fn kind_words(kind: &VariableKind) -> String {
    match kind {
        VariableKind::Choice { of } => format!("one of {}", of.join(", ")),
        VariableKind::Member { cluster } => format!("member of {{{cluster}}}"),
        simple => simple.word().to_owned(),
    }
}

fn list(text: &mut String, title: &str, lines: &[String]) {
    if lines.is_empty() {
        return;
    }
    let _ = writeln!(text, "## {title}\n");
    for line in lines {
        let _ = writeln!(text, "- [ ] {line}");
    }
    text.push('\n');
}

/// Text as code in Markdown, whatever is in it.
pub(super) fn code(text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    let pad = if text.starts_with('`') || text.ends_with('`') {
        " "
    } else {
        ""
    };
    let text = text.split('\n').map(str::trim_end).collect::<Vec<_>>().join(" ⏎ ");
    format!("{fence}{pad}{text}{pad}{fence}")
}

fn step_lines(text: &mut String, number: usize, step: &Step) {
    let _ = writeln!(
        text,
        "{number}. **{}** (`{}`, {})  ",
        step.title.text(),
        step.id,
        step.action.word()
    );
    if !step.why.is_empty() {
        let _ = writeln!(text, "   {}  ", step.why.text().trim());
    }
    if let Some(group) = &step.parallel {
        let _ = writeln!(text, "   at the same time as: the other steps of `{group}` beside it  ");
    }
    let _ = writeln!(text, "   does: {}  ", code(&step.action.words()));
    if let Some(by_hand) = step.action.by_hand() {
        let _ = writeln!(text, "   by hand: {}  ", code(&by_hand));
    }
    let mut line = |word: &str, what: String| {
        let _ = writeln!(text, "   {word}: {what}  ");
    };
    for check in &step.precheck {
        line("before", check.words());
    }
    for check in &step.verify {
        line("after", check.words());
    }
    if !matches!(step.undo, Undo::NotNeeded) {
        line("undo", step.undo.words());
    }
    for condition in &step.when {
        let sign = if condition.equal { "=" } else { "!=" };
        line("only when", format!("{} {sign} {}", condition.value, condition.to));
    }
    line("needs", needs(step));
    line(
        "at most",
        format!("{}; in a drill: {}", step.timeout, step.drill.word()),
    );
    if !step.action.needs_a_person() {
        line("if it fails", on_failure(step).to_owned());
        line("if its agent dies in it", in_doubt(step).to_owned());
    }
    text.push('\n');
}

/// What follows when a step fails, in words.
pub const fn on_failure(step: &Step) -> &'static str {
    match step.on_failure {
        OnFailure::Ask => "a person decides: again, pass it over, or abort",
        OnFailure::Stop => "the run ends; what was done stays",
        OnFailure::Continue => "it goes on with the next step",
        OnFailure::Undo => "what was done is taken back, and the run ends",
    }
}

/// What follows when the agent dies while a step is under way, in words: the rule of [`super::next`].
pub fn in_doubt(step: &Step) -> &'static str {
    let can_tell = !step.verify.is_empty() || step.action.leaves_a_record();
    match (can_tell, step.class) {
        _ if matches!(step.action, Action::Check(_) | Action::Wait(_)) => "it is asked again",
        (true, Class::Once) => "it is looked whether it was done; if not, a person decides",
        (true, _) => "it is looked whether it was done; if not, it is done again",
        (false, Class::Once) => "it is not repeated; a person decides",
        (false, _) => "it is done again",
    }
}

/// What a step needs from people, in words, with the values there are.
pub fn needs_with(step: &Step, values: &Values) -> String {
    let mut asked = step.clone();
    if let Some(typed) = &mut asked.needs.typed {
        *typed = typed.filled(values);
    }
    needs(&asked)
}

/// What a step needs from people that goes by itself.
pub const NOBODY: &str = "nobody: it goes by itself";

/// What a step needs from people, in words.
pub fn needs(step: &Step) -> String {
    let mut words = Vec::new();
    if step.action.needs_a_person() {
        words.push("a person".to_owned());
    } else if step.waits_for_go() {
        words.push("a person's go".to_owned());
    }
    if let Some(typed) = &step.needs.typed {
        words.push(format!("{} typed", typed.text()));
    }
    if step.needs.two_person {
        words.push("a second engineer's word".to_owned());
    } else if step.needs.approval {
        words.push("somebody's word".to_owned());
    }
    if words.is_empty() {
        NOBODY.to_owned()
    } else {
        words.join(", ")
    }
}

/// A step of a plan: what would be done with the values there are.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PlannedStep {
    /// Its name.
    pub id: String,
    /// What is done, in a line.
    pub title: String,
    /// The kind of action.
    pub kind: String,
    /// Exactly what is done; with the names of values that are found out on the way.
    pub does: String,
    /// How it is taken back.
    pub undo: String,
    /// What it needs from people.
    pub needs: String,
    /// Why it is passed over; none when it is done.
    pub passed: Option<String>,
    /// What its checks come to now; empty when they cannot be asked yet.
    pub checks: Vec<super::check::CheckResult>,
    /// What has to hold when it is over, a line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub proofs: Vec<String>,
    /// The word of the steps it is done at the same time with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parallel: Option<String>,
    /// It has failed after this long; none in the plan of an older agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Millis>,
}

/// What a step would do with the values there are.
pub fn planned(step: &Step, values: &Values, drill: bool) -> PlannedStep {
    let passed = step
        .when
        .iter()
        .find(|condition| condition.holds(values) == Ok(false))
        .map(|condition| {
            format!(
                "{} {} {}",
                condition.value,
                if condition.equal { "is not" } else { "is" },
                condition.to
            )
        });
    let in_drill = match step.drill {
        InDrill::Skip if drill => Some("passed over in a drill".to_owned()),
        InDrill::Simulate if drill => Some("only said in a drill".to_owned()),
        _ => None,
    };
    // What is found out on the way stands with its name; all else is as it will be done.
    let words = |action: &Action| action.filled(values).words();
    PlannedStep {
        id: step.id.clone(),
        title: step.title.sentence(values),
        kind: step.action.word().to_owned(),
        does: words(&step.action),
        undo: match &step.undo {
            Undo::Action(action) => words(action),
            other => other.words(),
        },
        needs: needs_with(step, values),
        passed: passed.or(in_drill),
        checks: Vec::new(),
        proofs: step.verify.iter().map(|check| check.filled(values).words()).collect(),
        parallel: step.parallel.clone(),
        timeout: Some(step.timeout),
    }
}

//! The one table of what keys do: dispatch, footer, help, palette and `assets/keymap.toml` all come from it.
//!
//! A key map file has one line an action, `move-down = ["j", "down"]`, and replaces the keys of the actions it names.
//! A chord of two keys is written with a space between, `"g g"`. No default needs a key that terminal multiplexers or
//! flow control take for themselves (Ctrl-a, b, g, o, p, t, n, s, q).

mod key;

use std::collections::BTreeMap;

pub use key::Key;

/// Where an action belongs in the help, and how the footer picks it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// Moving the cursor.
    Move,
    /// Going from place to place.
    Go,
    /// Looking closer.
    Look,
    /// Choosing rows.
    Choose,
    /// Changing something.
    Act,
    /// Leading a runbook; these keys mean this only in a wizard, and there they come first.
    Lead,
    /// Searching for a clean snapshot; these keys mean this only there, and there they come first.
    Find,
    /// The console itself.
    Console,
}

impl Group {
    /// The groups in the order of the help.
    pub const ALL: [Self; 8] = [
        Self::Move,
        Self::Go,
        Self::Look,
        Self::Choose,
        Self::Act,
        Self::Lead,
        Self::Find,
        Self::Console,
    ];

    /// The heading of the group.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Move => "Move",
            Self::Go => "Go",
            Self::Look => "Look",
            Self::Choose => "Choose",
            Self::Act => "Act",
            Self::Lead => "In a runbook under way",
            Self::Find => "In the search for a clean snapshot",
            Self::Console => "Console",
        }
    }
}

macro_rules! actions {
    ($($variant:ident $name:literal $keys:literal $group:ident $short:literal $words:literal;)+) => {
        /// What a key can ask for.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Action { $(#[doc = $words] $variant,)+ }

        /// What is known of each action: its name in a key map file, its default keys, its group, a word, a sentence.
        const TABLE: &[(Action, &str, &str, Group, &str, &str)] =
            &[$((Action::$variant, $name, $keys, Group::$group, $short, $words),)+];
    };
}

actions! {
    Down "move-down" "j,down" Move "down" "Down one row.";
    Up "move-up" "k,up" Move "up" "Up one row.";
    Left "left" "h,left" Move "out" "Out: to the list, the parent directory, the screen before.";
    Right "right" "l,right" Move "in" "In, like Enter.";
    HalfDown "half-page-down" "C-d" Move "half page" "Down half a page.";
    HalfUp "half-page-up" "C-u" Move "half page" "Up half a page.";
    PageDown "page-down" "pgdn" Move "page" "Down a page.";
    PageUp "page-up" "pgup" Move "page" "Up a page.";
    Top "top" "g g,home" Move "first" "To the first row.";
    Bottom "bottom" "G,end" Move "last" "To the last row.";
    Open "open" "enter" Go "open" "Open what the cursor is on.";
    Back "back" "esc,q" Go "back" "Back: close, out, up. Never leaves the console.";
    NextPane "next-pane" "tab" Go "pane" "To the next pane or section.";
    PreviousPane "previous-pane" "S-tab" Go "pane" "To the pane or section before.";
    Overview "overview" "1" Go "overview" "The Overview: what would be lost now, and what is going on.";
    Jobs "jobs" "2" Go "jobs" "The Jobs: what is backed up, when, and how it went.";
    Snapshots "snapshots" "3" Go "snapshots" "The Snapshots: what can be restored, and how far it is proved.";
    Recoveries "recoveries" "4" Go "recoveries" "The Recoveries: restores and verifications, live and past.";
    Runbooks "runbooks" "5" Go "runbooks" "The Runbooks: what leads through a recovery or a failover, and whether it is ready.";
    Alerts "alerts" "6" Go "alerts" "The Alerts: what is wrong and what to do next.";
    Topology "topology" "7" Go "topology" "The Topology: which server is primary or standby, and how far behind.";
    Audit "audit" "8" Go "audit" "The Audit: who did what, when.";
    LastView "last-view" "-" Go "last view" "To the view before, and again back.";
    HistoryBack "history-back" "[" Go "earlier" "Earlier in the history of views.";
    HistoryForward "history-forward" "]" Go "later" "Later in the history of views.";
    Describe "describe" "d" Look "describe" "Everything about the row, in a pane.";
    Log "log" "L" Look "log" "The log of the run.";
    Trash "trash" "t" Look "trash" "What is in the trash and can be brought back.";
    Drills "drills" "D" Look "drills" "The drills: recoveries for practice, when, how they went and how long they took.";
    Executions "executions" "H" Look "history" "Runs of runbooks that have ended, with their reports.";
    Retention "retention" "r" Look "retention" "What is kept of a job's snapshots, rule by rule.";
    Readiness "readiness" "c" Look "ask again" "Ask the checks of the runbook again: whether it could be begun now.";
    Raw "raw" "v" Look "raw" "The row as JSON, as the API gives it.";
    Copy "copy" "y" Look "copy" "Copy the row's name, id or command to the clipboard (OSC 52).";
    Save "save" "" Look "save" "Save the row as JSON to a file here.";
    Zoom "zoom" "z" Look "zoom" "One pane over the whole width, and back.";
    Filter "filter" "/" Choose "filter" "Show only rows that match; in a text, search.";
    NextMatch "next-match" "n" Choose "next" "To the next match.";
    PreviousMatch "previous-match" "N" Choose "previous" "To the match before.";
    Mark "mark" "space" Choose "mark" "Mark the row, or take its mark away.";
    MarkAll "mark-all" "*" Choose "mark all" "Mark all rows shown, or none.";
    Sort "sort" "s" Choose "sort" "Choose what to sort by.";
    Reverse "reverse" "S" Choose "reverse" "Turn the order round.";
    Act "act" "a" Act "act" "Everything that changes something starts here.";
    LeadGo "lead-go" "enter" Lead "go" "Go, or done: the step begins once its target is typed, if it has one.";
    LeadRecheck "lead-recheck" "c" Lead "check again" "Ask the checks of the step again.";
    LeadOverride "lead-override" "o" Lead "override" "Set the checks aside that do not hold, with a reason.";
    LeadSkip "lead-skip" "s" Lead "skip" "Pass the step over, with a reason.";
    LeadRetry "lead-retry" "r" Lead "again" "Do the step, or its undo, again.";
    LeadWasDone "lead-was-done" "w" Lead "was done" "Say that a step in doubt was done, with the evidence.";
    LeadLeave "lead-leave-undo" "u" Lead "leave it" "Leave a step that could not be taken back as it is, with a reason.";
    LeadApprove "lead-approve" "A" Lead "agree" "Agree to the step, as the second engineer.";
    LeadValue "lead-value" "e" Lead "value" "Say the value the step waits for.";
    LeadPause "lead-pause" "p" Lead "pause" "Begin nothing new for a while, or go on.";
    LeadTake "lead-take" "T" Lead "take over" "Lead the runbook from here on, with a reason.";
    LeadAbort "lead-abort" "X" Lead "abort" "End the runbook; says first what was done and what can be taken back.";
    LeadSave "lead-save" "S" Lead "save" "Save the report to a file here.";
    LeadFind "lead-find" "F" Lead "find clean" "Look through the snapshots among which a step looks for the last clean one.";
    FindTest "find-test" "t" Find "restore-test" "Restore the snapshot into a scratch place: verify up to restored.";
    FindClean "find-clean" "c" Find "clean" "Say that the snapshot is clean, with a reason: somebody looked into it.";
    FindBad "find-bad" "b" Find "bad" "Say that the snapshot is bad, with a reason: somebody looked into it.";
    FindForget "find-forget" "x" Find "take back" "Take back what was said of the snapshot.";
    FindNext "find-next" "m" Find "next to look at" "To the snapshot to look at next: in the middle of the bracket.";
    FindUse "find-use" "u" Find "use it" "Use the snapshot: tell the step that looks for one, or plan a restore.";
    Palette "palette" ":" Console "palette" "Find any action or thing by a few letters.";
    Help "help" "?" Console "help" "These keys.";
    Freeze "freeze" "f" Console "freeze" "Hold the screen still; what happens meanwhile is kept.";
    Refresh "refresh" "R" Console "refresh" "Ask the agent again.";
    Repaint "repaint" "C-l" Console "repaint" "Draw the whole screen again.";
    Suspend "suspend" "C-z" Console "suspend" "Back to the shell for a while.";
    Quit "quit" "C-c" Console "leave" "Leave the console. The agent and its work go on.";
    QuitKeeping "quit-keeping-screen" "Q" Console "leave, keep" "Leave, and keep the screen's text for the ticket.";
}

impl Action {
    /// All actions in the order of the table.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|row| row.0)
    }

    fn row(self) -> &'static (Self, &'static str, &'static str, Group, &'static str, &'static str) {
        &TABLE[self as usize]
    }

    /// Its name in a key map file.
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// Its group in the help.
    pub fn group(self) -> Group {
        self.row().3
    }

    /// A word or two for the footer.
    pub fn short(self) -> &'static str {
        self.row().4
    }

    /// A sentence for the help and the palette.
    pub fn words(self) -> &'static str {
        self.row().5
    }
}

/// What a key led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pressed {
    /// An action.
    Action(Action),
    /// The first key of a chord.
    Pending,
    /// Nothing.
    Nothing,
}

/// Which keys do what.
#[derive(Debug, Clone)]
pub struct Keymap {
    chords: BTreeMap<Action, Vec<Vec<Key>>>,
}

impl Default for Keymap {
    fn default() -> Self {
        let mut chords = BTreeMap::new();
        for (action, _, keys, ..) in TABLE {
            let parsed = keys
                .split(',')
                .filter(|text| !text.is_empty())
                .filter_map(|text| chord(text).ok());
            chords.insert(*action, parsed.collect());
        }
        Self { chords }
    }
}

fn chord(text: &str) -> Result<Vec<Key>, String> {
    let keys: Vec<Key> = text.split_whitespace().map(Key::parse).collect::<Result<_, _>>()?;
    if keys.is_empty() || keys.len() > 2 {
        return Err(format!("\"{text}\" is not a key or a chord of two"));
    }
    Ok(keys)
}

impl Keymap {
    /// The default keys with those of a key map file in their place.
    ///
    /// # Errors
    /// A sentence that names the action or key that is not understood, or that two actions share.
    pub fn with_overrides(text: &str) -> Result<Self, String> {
        let overrides: BTreeMap<String, Vec<String>> =
            toml::from_str(text).map_err(|error| format!("key map: {}", error.message()))?;
        let mut keymap = Self::default();
        for (name, keys) in overrides {
            let action = Action::all().find(|action| action.name() == name);
            let action = action.ok_or_else(|| format!("key map: there is no action \"{name}\""))?;
            let chords = keys.iter().map(|key| chord(key)).collect::<Result<Vec<_>, _>>();
            keymap
                .chords
                .insert(action, chords.map_err(|why| format!("key map: {name}: {why}"))?);
        }
        keymap.check()?;
        Ok(keymap)
    }

    fn check(&self) -> Result<(), String> {
        // In a wizard a key may mean something else than everywhere; within either it means one thing.
        let place = |action: &Action| match action.group() {
            group @ (Group::Lead | Group::Find) => Some(group),
            _ => None,
        };
        let mut taken: BTreeMap<(Option<Group>, &[Key]), Action> = BTreeMap::new();
        for (action, chords) in &self.chords {
            for chord in chords {
                if let Some(other) = taken.insert((place(action), chord), *action) {
                    return Err(format!(
                        "key map: {} means both {} and {}",
                        show(chord),
                        other.name(),
                        action.name()
                    ));
                }
            }
        }
        match self.chords.get(&Action::Quit) {
            Some(chords) if !chords.is_empty() => Ok(()),
            _ => Err("key map: quit needs a key".to_owned()),
        }
    }

    /// What a key means, after the first key of a chord when there was one.
    pub fn press(&self, before: Option<Key>, key: Key) -> Pressed {
        let wanted: Vec<Key> = before.into_iter().chain([key]).collect();
        let mut pending = false;
        for (action, chords) in self
            .chords
            .iter()
            .filter(|(action, _)| !matches!(action.group(), Group::Lead | Group::Find))
        {
            for chord in chords {
                if *chord == wanted {
                    return Pressed::Action(*action);
                }
                pending |= chord.len() > wanted.len() && chord.starts_with(&wanted);
            }
        }
        match (pending, before) {
            (true, _) => Pressed::Pending,
            // A chord that came to nothing does not swallow its second key.
            (false, Some(_)) => self.press(None, key),
            (false, None) => Pressed::Nothing,
        }
    }

    /// What a key means in a wizard, where it means something else than everywhere.
    pub fn lead(&self, key: Key) -> Option<Action> {
        self.only_in(Group::Lead, key)
    }

    /// What a key means in the search for a clean snapshot, where it means something else than everywhere.
    pub fn find(&self, key: Key) -> Option<Action> {
        self.only_in(Group::Find, key)
    }

    fn only_in(&self, group: Group, key: Key) -> Option<Action> {
        let means = |(action, chords): &(&Action, &Vec<Vec<Key>>)| {
            action.group() == group && chords.iter().any(|chord| *chord == [key])
        };
        self.chords.iter().find(means).map(|(action, _)| *action)
    }

    /// The keys of an action as people write them: `j`, `g g`, `C-d`.
    pub fn keys(&self, action: Action) -> Vec<String> {
        self.chords
            .get(&action)
            .map_or_else(Vec::new, |chords| chords.iter().map(|chord| show(chord)).collect())
    }

    /// The first key of an action.
    pub fn key(&self, action: Action) -> Option<String> {
        self.chords.get(&action)?.first().map(|chord| show(chord))
    }

    /// The whole map as a key map file.
    pub fn to_toml(&self) -> String {
        let line = |action: Action| {
            let keys: Vec<String> = self.keys(action).iter().map(|key| format!("\"{key}\"")).collect();
            format!("{} = [{}] # {}\n", action.name(), keys.join(", "), action.words())
        };
        let group = |group: Group| {
            let lines: String = Action::all()
                .filter(|action| action.group() == group)
                .map(line)
                .collect();
            format!("\n# {}\n{lines}", group.words())
        };
        Group::ALL.into_iter().map(group).collect()
    }
}

fn show(chord: &[Key]) -> String {
    chord.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_actions_and_no_key_means_two_things() {
        for (place, action) in Action::all().enumerate() {
            assert_eq!(action as usize, place);
        }
        Keymap::default().check().unwrap();
    }

    #[test]
    fn no_default_needs_a_key_that_a_multiplexer_takes() {
        for keys in Action::all().flat_map(|action| Keymap::default().keys(action)) {
            for taken in ["C-a", "C-b", "C-g", "C-o", "C-p", "C-t", "C-n", "C-s", "C-q"] {
                assert!(!keys.contains(taken), "{keys}");
            }
        }
    }

    #[test]
    fn the_file_in_assets_is_the_table() {
        let file = include_str!("../../../assets/keymap.toml");
        let (head, body) = file.split_once("\n\n").unwrap();
        assert!(head.starts_with('#'));
        assert_eq!(format!("\n{body}"), Keymap::default().to_toml());
        Keymap::with_overrides(file).unwrap();
    }

    #[test]
    fn chords_wait_and_do_not_swallow() {
        let keymap = Keymap::default();
        let g = Key::parse("g").unwrap();
        let j = Key::parse("j").unwrap();
        assert_eq!(keymap.press(None, g), Pressed::Pending);
        assert_eq!(keymap.press(Some(g), g), Pressed::Action(Action::Top));
        assert_eq!(keymap.press(Some(g), j), Pressed::Action(Action::Down));
    }

    #[test]
    fn overrides_replace_and_mistakes_are_named() {
        let keymap = Keymap::with_overrides("act = [\"x\"]\nmark = [\"space\", \"m m\"]").unwrap();
        assert_eq!(keymap.keys(Action::Act), ["x"]);
        assert_eq!(keymap.keys(Action::Mark), ["space", "m m"]);
        assert_eq!(keymap.press(None, Key::parse("a").unwrap()), Pressed::Nothing);
        assert!(Keymap::with_overrides("fly = [\"x\"]").unwrap_err().contains("fly"));
        assert!(Keymap::with_overrides("act = [\"j\"]").unwrap_err().contains("both"));
        assert!(Keymap::with_overrides("act = [\"Q-7\"]").unwrap_err().contains("Q-7"));
        assert!(Keymap::with_overrides("quit = []").unwrap_err().contains("quit"));
    }
}

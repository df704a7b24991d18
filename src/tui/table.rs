//! Rows with a cursor: filtered, sorted, marked, and never losing their place when the data under them changes.
//!
//! A table keeps its rows once, with the text a filter looks at prepared in lower case, so that a key stroke in a filter
//! over a hundred thousand rows is one pass over memory. The cursor follows the row it is on, not its number.

use std::cell::Cell;
use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap};

use super::filter::{Field, Filter};
use crate::domain::Timestamp;

/// A row of a table.
pub trait Item {
    /// What the rows can be sorted by, the first by default.
    const SORTS: &'static [&'static str];
    /// What a filter can ask for.
    const FIELDS: &'static [&'static str];
    /// Whether the default order has the greatest first.
    const NEWEST_FIRST: bool;

    /// What tells this row from all others, for as long as it lives.
    fn key(&self) -> String;
    /// Everything people can see of it, for words in a filter.
    fn text(&self) -> String;
    /// A value a filter can look at.
    fn field(&self, name: &str, now: Timestamp) -> Option<Field>;
    /// The order of two rows by one of [`Item::SORTS`].
    fn order(&self, other: &Self, sort: usize) -> Ordering;
}

#[derive(Debug, Clone)]
struct Row<T> {
    item: T,
    key: String,
    text: String,
}

/// Rows, what is shown of them, and where the cursor is.
#[derive(Debug, Clone)]
pub struct Table<T> {
    rows: Vec<Row<T>>,
    places: HashMap<String, usize>,
    order: Vec<usize>,
    visible: Vec<usize>,
    selected: usize,
    /// The first row on the screen; the one thing that drawing remembers, so that a list moves only when it must.
    pub offset: Cell<usize>,
    /// Keys of marked rows.
    pub marks: BTreeSet<String>,
    /// The filter as it was typed.
    pub filter_text: String,
    filter: Filter,
    /// Which of [`Item::SORTS`].
    pub sort: usize,
    /// Whether the order is turned round.
    pub reverse: bool,
    /// Where the next page begins, when there is one.
    pub next: Option<String>,
    /// Whether rows have been loaded at all.
    pub loaded: bool,
    /// Whether a page is on its way.
    pub loading: bool,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self {
            rows: Vec::new(),
            places: HashMap::new(),
            order: Vec::new(),
            visible: Vec::new(),
            selected: 0,
            offset: Cell::new(0),
            marks: BTreeSet::new(),
            filter_text: String::new(),
            filter: Filter::default(),
            sort: 0,
            reverse: false,
            next: None,
            loaded: false,
            loading: false,
        }
    }
}

impl<T: Item> Table<T> {
    /// Replaces all rows.
    pub fn set(&mut self, items: Vec<T>, now: Timestamp) {
        let kept = self.selected_key();
        self.rows.clear();
        self.places.clear();
        self.loaded = true;
        for item in items {
            self.place(item);
        }
        let places = &self.places;
        self.marks.retain(|key| places.contains_key(key));
        self.arrange(now, kept);
    }

    /// Adds rows of a page, replacing those that are there already.
    pub fn merge(&mut self, items: Vec<T>, now: Timestamp) {
        self.loaded = true;
        self.note(items, now);
    }

    /// Adds rows that came by themselves; that is not having loaded the list.
    pub fn note(&mut self, items: Vec<T>, now: Timestamp) {
        if items.is_empty() {
            return;
        }
        let kept = self.selected_key();
        for item in items {
            self.place(item);
        }
        self.arrange(now, kept);
    }

    /// Takes rows away for which `gone` holds.
    pub fn remove(&mut self, gone: impl Fn(&T) -> bool, now: Timestamp) {
        if self.rows.iter().any(|row| gone(&row.item)) {
            let kept = self.selected_key();
            self.rows.retain(|row| !gone(&row.item));
            self.places = self
                .rows
                .iter()
                .enumerate()
                .map(|(at, row)| (row.key.clone(), at))
                .collect();
            self.arrange(now, kept);
        }
    }

    fn place(&mut self, item: T) {
        let (key, text) = (item.key(), item.text().to_lowercase());
        if let Some(at) = self.places.get(&key) {
            self.rows[*at] = Row { item, key, text };
        } else {
            self.places.insert(key.clone(), self.rows.len());
            self.rows.push(Row { item, key, text });
        }
    }

    /// Sorts and filters again.
    fn arrange(&mut self, now: Timestamp, kept: Option<String>) {
        self.order = (0..self.rows.len()).collect();
        let (rows, sort) = (&self.rows, self.sort);
        let turned = self.reverse != (T::NEWEST_FIRST && sort == 0);
        self.order.sort_by(|a, b| {
            let order = rows[*a].item.order(&rows[*b].item, sort);
            let order = if turned { order.reverse() } else { order };
            order.then_with(|| rows[*a].key.cmp(&rows[*b].key))
        });
        self.refilter(now, kept);
    }

    fn refilter(&mut self, now: Timestamp, kept: Option<String>) {
        let (rows, filter) = (&self.rows, &self.filter);
        let passes = |at: &usize| {
            let row = &rows[*at];
            filter.passes(&row.text, |name| row.item.field(name, now))
        };
        self.visible = if filter.is_empty() {
            self.order.clone()
        } else {
            self.order.iter().copied().filter(passes).collect()
        };
        let place = kept.and_then(|key| self.visible.iter().position(|at| self.rows[*at].key == key));
        self.selected = place.unwrap_or(self.selected).min(self.visible.len().saturating_sub(1));
    }

    /// Applies a filter as it is typed.
    ///
    /// # Errors
    /// A sentence that says what is not understood; the rows shown stay as they were.
    pub fn set_filter(&mut self, text: &str, now: Timestamp) -> Result<(), String> {
        let filter = Filter::parse(text, T::FIELDS)?;
        let kept = self.selected_key();
        text.clone_into(&mut self.filter_text);
        self.filter = filter;
        self.refilter(now, kept);
        Ok(())
    }

    /// The filter that is applied.
    pub fn filter(&self) -> &Filter {
        &self.filter
    }

    /// Sorts by another column, or the other way round.
    pub fn set_sort(&mut self, sort: usize, reverse: bool, now: Timestamp) {
        let kept = self.selected_key();
        self.sort = sort.min(T::SORTS.len().saturating_sub(1));
        self.reverse = reverse;
        self.arrange(now, kept);
    }

    /// The row under the cursor.
    pub fn selected(&self) -> Option<&T> {
        self.visible.get(self.selected).map(|at| &self.rows[*at].item)
    }

    /// The key of the row under the cursor.
    pub fn selected_key(&self) -> Option<String> {
        self.visible.get(self.selected).map(|at| self.rows[*at].key.clone())
    }

    /// Moves the cursor to the row with that key, if it is shown.
    pub fn select_key(&mut self, key: &str) -> bool {
        let place = self.visible.iter().position(|at| self.rows[*at].key == key);
        self.selected = place.unwrap_or(self.selected);
        place.is_some()
    }

    /// The row with that key, shown or not.
    pub fn get(&self, key: &str) -> Option<&T> {
        self.places.get(key).map(|at| &self.rows[*at].item)
    }

    /// The rows shown, from a place on, with their keys.
    pub fn window(&self, from: usize, count: usize) -> impl Iterator<Item = (usize, &str, &T)> {
        let rows = &self.rows;
        let window = self.visible.iter().enumerate().skip(from).take(count);
        window.map(move |(place, at)| (place, rows[*at].key.as_str(), &rows[*at].item))
    }

    /// All rows, shown or not.
    pub fn all(&self) -> impl Iterator<Item = &T> {
        self.rows.iter().map(|row| &row.item)
    }

    /// The marked rows, or the one under the cursor when none is marked.
    pub fn chosen(&self) -> Vec<&T> {
        if self.marks.is_empty() {
            return self.selected().into_iter().collect();
        }
        self.marks.iter().filter_map(|key| self.get(key)).collect()
    }
}

/// What the keys can do to any table, whatever its rows.
pub trait Rows {
    /// How many rows are shown.
    fn shown(&self) -> usize;
    /// How many rows there are.
    fn total(&self) -> usize;
    /// The number of the row under the cursor.
    fn cursor(&self) -> usize;
    /// Moves the cursor by some rows, stopping at either end.
    fn move_by(&mut self, rows: isize);
    /// Marks the row under the cursor, or takes its mark away, and goes to the next.
    fn mark(&mut self);
    /// Marks all rows shown, or takes all marks away when all are marked.
    fn mark_all(&mut self);
    /// How many rows are marked.
    fn marked(&self) -> usize;
    /// The filter as it was typed.
    fn filter_text(&self) -> &str;
    /// Applies a filter as it is typed.
    ///
    /// # Errors
    /// A sentence that says what is not understood.
    fn apply_filter(&mut self, text: &str, now: Timestamp) -> Result<(), String>;
    /// The fields a filter may name.
    fn fields(&self) -> &'static [&'static str];
    /// What the rows can be sorted by.
    fn sorts(&self) -> &'static [&'static str];
    /// By which they are sorted, and whether the other way round.
    fn sorted(&self) -> (usize, bool);
    /// Sorts.
    fn sort_by(&mut self, sort: usize, reverse: bool, now: Timestamp);
    /// Whether the cursor is near the end and more rows can be had.
    fn wants_more(&self) -> bool;
}

impl<T: Item> Rows for Table<T> {
    fn shown(&self) -> usize {
        self.visible.len()
    }
    fn total(&self) -> usize {
        self.rows.len()
    }
    fn cursor(&self) -> usize {
        self.selected
    }
    fn move_by(&mut self, rows: isize) {
        let last = self.visible.len().saturating_sub(1);
        self.selected = self.selected.saturating_add_signed(rows).min(last);
    }
    fn mark(&mut self) {
        if let Some(key) = self.selected_key() {
            if !self.marks.remove(&key) {
                self.marks.insert(key);
            }
            self.move_by(1);
        }
    }
    fn mark_all(&mut self) {
        let all: BTreeSet<String> = self.visible.iter().map(|at| self.rows[*at].key.clone()).collect();
        self.marks = if self.marks == all { BTreeSet::new() } else { all };
    }
    fn marked(&self) -> usize {
        self.marks.len()
    }
    fn filter_text(&self) -> &str {
        &self.filter_text
    }
    fn apply_filter(&mut self, text: &str, now: Timestamp) -> Result<(), String> {
        self.set_filter(text, now)
    }
    fn fields(&self) -> &'static [&'static str] {
        T::FIELDS
    }
    fn sorts(&self) -> &'static [&'static str] {
        T::SORTS
    }
    fn sorted(&self) -> (usize, bool) {
        (self.sort, self.reverse)
    }
    fn sort_by(&mut self, sort: usize, reverse: bool, now: Timestamp) {
        self.set_sort(sort, reverse, now);
    }
    fn wants_more(&self) -> bool {
        self.next.is_some() && !self.loading && self.selected + 60 >= self.visible.len()
    }
}

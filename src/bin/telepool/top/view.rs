//! What the user of `top` has chosen to see, and the keys that choose it.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::data::Asks;

/// What accounts are sorted by, with the order that shows first what matters.
const SORTS: [(&str, bool); 9] = [
    ("active", true),
    ("waiting", true),
    ("oldest_wait", true),
    ("errors", true),
    ("last_used", true),
    ("created", true),
    ("state", false),
    ("group", false),
    ("name", false),
];

/// The states that accounts are filtered by, after all of them.
const STATES: [Option<&str>; 8] = [
    None,
    Some("ready"),
    Some("cooling"),
    Some("resting"),
    Some("suspect"),
    Some("quarantined"),
    Some("draining"),
    Some("paused"),
];

/// How many accounts are asked for: more than a terminal has lines.
const LIMIT: usize = 200;

/// How long a search may be.
const SEARCH_MAX: usize = 64;

/// What is chosen.
#[derive(Debug, Default)]
pub(super) struct View {
    pub(super) sort: usize,
    pub(super) is_reversed: bool,
    pub(super) state: usize,
    pub(super) search: String,
    /// Keys are part of the search.
    pub(super) is_typing: bool,
    /// How many accounts are above the first that is shown.
    pub(super) scroll: usize,
}

/// What a key brings about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heed {
    Quit,
    AskAgain,
    ShowAgain,
}

impl View {
    pub(super) fn asks(&self) -> Asks {
        let (sort, is_desc) = SORTS[self.sort];
        Asks {
            search: self.search.clone(),
            state: STATES[self.state],
            sort,
            order: if is_desc == self.is_reversed { "asc" } else { "desc" },
            limit: LIMIT,
        }
    }

    pub(super) fn heed(&mut self, key: KeyEvent) -> Heed {
        if key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL) {
            return Heed::Quit;
        }
        if self.is_typing {
            return self.type_on(key.code);
        }
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => return Heed::Quit,
            KeyCode::Char('s') => self.sort = (self.sort + 1) % SORTS.len(),
            KeyCode::Char('S') => self.sort = (self.sort + SORTS.len() - 1) % SORTS.len(),
            KeyCode::Char('r') => self.is_reversed = !self.is_reversed,
            KeyCode::Char('f') => self.state = (self.state + 1) % STATES.len(),
            KeyCode::Char('F') => self.state = (self.state + STATES.len() - 1) % STATES.len(),
            KeyCode::Char('/') => {
                self.is_typing = true;
                return Heed::ShowAgain;
            }
            code => return self.scroll_by(code),
        }
        self.scroll = 0;
        Heed::AskAgain
    }

    fn type_on(&mut self, code: KeyCode) -> Heed {
        match code {
            KeyCode::Enter => self.is_typing = false,
            KeyCode::Esc => {
                self.is_typing = false;
                self.search.clear();
            }
            KeyCode::Backspace => drop(self.search.pop()),
            KeyCode::Char(it) if self.search.len() < SEARCH_MAX => self.search.push(it),
            _ => return Heed::ShowAgain,
        }
        self.scroll = 0;
        Heed::AskAgain
    }

    fn scroll_by(&mut self, code: KeyCode) -> Heed {
        self.scroll = match code {
            KeyCode::Down | KeyCode::Char('j') => self.scroll + 1,
            KeyCode::Up | KeyCode::Char('k') => self.scroll.saturating_sub(1),
            KeyCode::PageDown => self.scroll + 10,
            KeyCode::PageUp => self.scroll.saturating_sub(10),
            KeyCode::Home => 0,
            _ => self.scroll,
        }
        .min(LIMIT);
        Heed::ShowAgain
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press(view: &mut View, code: KeyCode) -> Heed {
        view.heed(KeyEvent::new(code, KeyModifiers::NONE))
    }

    #[test]
    fn keys_choose_order_filter_and_search_and_two_of_them_quit() {
        let mut view = View::default();
        let first = view.asks();
        assert_eq!((first.sort, first.order, first.state), ("active", "desc", None));
        assert_eq!(press(&mut view, KeyCode::Char('s')), Heed::AskAgain);
        assert_eq!(press(&mut view, KeyCode::Char('r')), Heed::AskAgain);
        assert_eq!(press(&mut view, KeyCode::Char('F')), Heed::AskAgain);
        let asks = view.asks();
        assert_eq!((asks.sort, asks.order, asks.state), ("waiting", "asc", Some("paused")));
        press(&mut view, KeyCode::Char('/'));
        for it in "quick".chars() {
            assert_eq!(press(&mut view, KeyCode::Char(it)), Heed::AskAgain, "no key of it quits");
        }
        press(&mut view, KeyCode::Backspace);
        press(&mut view, KeyCode::Enter);
        assert_eq!(view.asks().search, "quic");
        press(&mut view, KeyCode::PageDown);
        press(&mut view, KeyCode::Up);
        assert_eq!(view.scroll, 9);
        for _ in 0..SORTS.len() * STATES.len() {
            press(&mut view, KeyCode::Char('s'));
            press(&mut view, KeyCode::Char('f'));
        }
        assert_eq!(view.asks().state, Some("paused"), "once around");
        assert_eq!(press(&mut view, KeyCode::Esc), Heed::Quit);
        let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        view.is_typing = true;
        assert_eq!(view.heed(interrupt), Heed::Quit);
    }
}

//! How a state looks: a shape, a word, a colour. Never a colour alone.

use maud::{Markup, PreEscaped, html};
use roundel_model::ServerState;

use crate::status::{Backend, Member, MemberStatus, Server};

/// The look of one state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Look {
    /// The id of the shape, and the class that colours it.
    pub(super) class: &'static str,
    /// The word.
    pub(super) word: String,
}

impl Look {
    fn new(class: &'static str, word: impl Into<String>) -> Self {
        let word = word.into();
        Self { class, word }
    }

    /// A server's look.
    pub(super) fn of_server(server: &Server) -> Self {
        match (server.state, server.warming_percent) {
            (ServerState::Up, _) if server.doubt => Self::new("doubt", "UP"),
            (ServerState::Up, _) => Self::new("up", "UP"),
            (ServerState::Warming, Some(percent)) => {
                Self::new("warming", format!("WARMING {percent}\u{202f}%"))
            }
            (state, _) => Self::new(state.as_str(), state.as_str().to_uppercase()),
        }
    }

    /// A backend's look.
    pub(super) fn of_backend(backend: &Backend) -> Self {
        match backend.serving() {
            0 if backend.known() == 0 => Self::new("joining", "EMPTY"),
            0 => Self::new("down", "DOWN"),
            _ => Self::new("up", "UP"),
        }
    }

    /// A member's look.
    pub(super) fn of_member(member: &Member) -> Self {
        match member.status {
            MemberStatus::Alive if member.suspect => Self::new("doubt", "SUSPECT"),
            MemberStatus::Alive => Self::new("up", "ALIVE"),
            MemberStatus::Leaving => Self::new("leaving", "LEAVING"),
            MemberStatus::Left => Self::new("left", "LEFT"),
            MemberStatus::Failed => Self::new("down", "FAILED"),
        }
    }

    /// Shape and word.
    pub(super) fn mark(&self) -> Markup {
        html! {
            (shape(self.class)) span.word { (self.word) }
        }
    }
}

/// Every class, the worst first: the order of a long table.
pub(super) const BY_URGENCY: [&str; 10] = [
    "down", "ejected", "doubt", "joining", "leaving", "draining", "maint", "warming", "up", "left",
];

/// The shape alone, for eyes only.
pub(super) fn shape(class: &str) -> Markup {
    html! {
        svg class={ "shape c-" (class) } aria-hidden="true" width="12" height="12" {
            use href={ "#s-" (class) } {}
        }
    }
}

/// The shapes, once per page.
pub(super) fn shapes() -> Markup {
    PreEscaped(SHAPES.to_owned())
}

const SHAPES: &str = r##"<svg width="0" height="0" aria-hidden="true" class="defs"><defs>
<symbol id="s-up" viewBox="0 0 12 12"><circle cx="6" cy="6" r="5" fill="currentColor"/></symbol>
<symbol id="s-joining" viewBox="0 0 12 12"><circle cx="6" cy="6" r="4.6" fill="none" stroke="currentColor" stroke-width="1.6" stroke-dasharray="2 1.6"/></symbol>
<symbol id="s-warming" viewBox="0 0 12 12"><circle cx="6" cy="6" r="4.8" fill="none" stroke="currentColor" stroke-width="1.4"/><path d="M6 6V1.2A4.8 4.8 0 0 1 10.8 6Z" fill="currentColor"/></symbol>
<symbol id="s-doubt" viewBox="0 0 12 12"><path d="M6 .8 11.6 11H.4Z" fill="currentColor"/></symbol>
<symbol id="s-ejected" viewBox="0 0 12 12"><path d="M3.3 1h5.4L11.4 6 8.7 11H3.3L.6 6Z" fill="none" stroke="currentColor" stroke-width="1.8"/></symbol>
<symbol id="s-draining" viewBox="0 0 12 12"><circle cx="6" cy="6" r="4.8" fill="none" stroke="currentColor" stroke-width="1.4"/><path d="M6 1.2a4.8 4.8 0 0 0 0 9.6Z" fill="currentColor"/></symbol>
<symbol id="s-leaving" viewBox="0 0 12 12"><circle cx="6" cy="6" r="4.8" fill="none" stroke="currentColor" stroke-width="1.4"/><path d="M6 1.2a4.8 4.8 0 0 1 0 9.6Z" fill="currentColor"/></symbol>
<symbol id="s-maint" viewBox="0 0 12 12"><rect x="1.2" y="1.2" width="9.6" height="9.6" rx="1.5" fill="currentColor"/></symbol>
<symbol id="s-down" viewBox="0 0 12 12"><path d="m2 2 8 8m0-8-8 8" fill="none" stroke="currentColor" stroke-width="2.4" stroke-linecap="round"/></symbol>
<symbol id="s-left" viewBox="0 0 12 12"><circle cx="6" cy="6" r="4.8" fill="none" stroke="currentColor" stroke-width="1.4"/></symbol>
</defs></svg>"##;

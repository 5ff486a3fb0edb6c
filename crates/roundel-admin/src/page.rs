//! The page at `/`: rendered whole on this side, kept fresh by the stream.
//!
//! [`parts`] renders everything that changes, [`document()`] puts it into a page. The stream
//! sends the same parts, so a page that was loaded a minute ago and one loaded just now show
//! the same thing. Every text goes through maud, which escapes it, and what leaves this module has
//! no hidden character; colours, sizes and script are in one inline style and one inline script
//! whose hashes are in the policy.

mod acts;
mod certificates;
mod classic;
mod cluster;
mod document;
mod format;
mod handshakes;
mod head;
pub(crate) mod headline;
mod login;
mod look;
mod part;
mod plot;
mod query;
mod servers;
mod sort;
mod tiles;
mod timeline;

use crate::Admin;
use crate::admin::Acts;
use crate::history::History;
use crate::moment::Moment;

pub(crate) use document::{content_security_policy, document};
pub(crate) use format::uptime;
pub(crate) use login::login;
pub(crate) use part::{Part, changes, everything};
pub(crate) use query::{Key, PageQuery};

/// What rendering reads.
pub(crate) struct Scene<'a> {
    /// The numbers.
    moment: &'a Moment,
    /// The past.
    history: &'a History,
    /// Which page.
    key: &'a Key,
    /// Who may act, so that buttons are shown only where they work.
    acts: &'a Acts,
    /// What makes a form ours.
    form_key: &'a str,
}

/// Renders the parts of one kind of page.
pub(crate) fn parts(admin: &Admin, moment: &Moment, key: &Key) -> Vec<Part> {
    let history = admin.history();
    let scene = Scene {
        moment,
        history: &history,
        key,
        acts: &admin.shared.config.acts,
        form_key: &admin.shared.form_key,
    };
    let mut parts = vec![head::part(&scene), head::notice(&scene)];
    if key.view == query::View::Overview {
        parts.push(tiles::part(&scene));
    }
    parts.push(match key.view {
        query::View::Classic => classic::part(&scene),
        _ => servers::part(&scene),
    });
    if key.view != query::View::Classic {
        parts.push(certificates::part(&scene));
        parts.push(cluster::part(&scene));
        parts.push(timeline::part(&scene));
        parts.push(cluster::process(&scene));
    }
    parts.into_iter().map(Part::visible).collect()
}

/// The tab's title: how things are comes first.
pub(crate) fn title(moment: &Moment) -> String {
    let total = &moment.rates.total;
    let mark = head::verdict(moment).mark();
    let counts = format!("{mark} {}/{}", total.serving, total.known);
    match moment.snapshot.felt() {
        Some(felt) => format!("{counts} · {felt} · roundel"),
        None => format!("{counts} · roundel"),
    }
}

/// The colour of the tab's icon.
pub(crate) fn colour(moment: &Moment) -> &'static str {
    document::colour(head::verdict(moment).class())
}

pub(crate) use timeline::log;

/// The headline without numbers that change all the time, to be read aloud.
pub(crate) fn spoken(moment: &Moment) -> String {
    headline::sentence(&moment.snapshot)
}

#[cfg(test)]
mod tests;

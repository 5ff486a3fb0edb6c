//! Which cases are stricter than the RFCs, in one place so that the table of peers is fair.

use roundel_testkit::wire::{Case, Level};

/// The RFCs let a recipient be lenient (MAY), or say nothing: being strict is this product's choice.
pub(crate) const CHOICES: &[&str] = &[
    "line-bare-lf",
    "line-all-bare-lf",
    "line-tab-separators",
    "line-two-spaces",
    "line-two-spaces-before-version",
    "line-trailing-space",
    "line-leading-space",
    "line-leading-tab",
    "line-vt-separator",
    "line-ff-separator",
    "field-bare-lf-end",
    "field-bare-lf-in-value",
    "field-lf-lf-end",
    "field-crlf-lf-end",
    "field-obs-fold",
    "field-obs-fold-tab",
    "field-obs-fold-host",
    "field-obs-fold-length",
    "field-obs-fold-coding",
    "field-obs-fold-space-line",
    "trailer-obs-fold",
    "trailer-bare-lf",
    "trailer-lf-lf",
    "answer-bare-lf",
    "version-2-0",
    "version-3-0",
    "version-1-10",
    "answer-version-2",
    "answer-status-000",
    "answer-status-tab",
    "answer-status-two-spaces",
    "coding-and-length",
    "length-and-coding",
    "length-0-and-coding",
    "length-and-coding-case",
    "coding-get-and-length",
    "coding-connection-names-length",
    "coding-connection-names-coding",
    "smuggling-cut-everywhere",
    "coding-1-0",
    "coding-1-0-keep-alive",
    "host-port-big",
    "host-port-only",
    "chunk-size-2-32-zeros",
    "upgrade-h2c-not-forwarded",
    "upgrade-h2c-among-others-not-forwarded",
    "connect-refused",
    "connect-hides-a-request",
    "trace-with-body",
    "early-answer",
    "early-answer-and-close",
    "pool-server-promises-one-second",
    "slow-silent-client-is-closed",
    "slow-body-408",
    "fin-at-once",
    "slow-keep-alive-is-closed-without-a-word",
    "line-09-only",
    "line-no-version",
];

/// Rules of the strength SHOULD, or good practice.
pub(crate) const ADVICE: &[&str] = &[
    "target-fragment",
    "target-star-get",
    "target-star-plus",
    "target-authority-get",
    "target-absolute-empty-host",
    "target-absolute-userinfo",
    "target-absolute-comma-host",
    "target-del",
    "target-quote",
    "target-less",
    "target-no-slash",
    "target-query-only",
    "chunk-extensions-many",
    "chunk-extension-100k",
    "absolute-1-0-needs-no-host",
    "date-added",
    "hop-keep-alive-alone",
    "hop-upgrade-unnamed",
    "hop-te-unnamed",
    "upgrade-without-connection-option",
    "client-resets-while-waiting",
    "client-resets-in-the-answer",
    "client-reset-does-not-retry",
    "client-resets-in-its-body",
    "slow-server-until-close-breaks",
    "body-until-close-reset",
    "reused-dies-post-never-twice",
    "reused-reset-post-never-twice",
    "server-resets-while-the-body-comes",
    "upgrade-server-half-closes-client-goes-on",
    "hop-proxy-connection",
    "hop-answer-proxy-connection",
];

/// Gives each case the level that the tables above say.
pub(crate) fn level(cases: Vec<Case>) -> Vec<Case> {
    let one = |mut case: Case| {
        if CHOICES.contains(&case.name.as_str()) {
            case.level = Level::Own;
        } else if ADVICE.contains(&case.name.as_str()) {
            case.level = Level::Should;
        }
        case
    };
    cases.into_iter().map(one).collect()
}

use roundel_testkit::wire::Case;

pub(crate) fn cases() -> Vec<Case> {
    Vec::new()
}

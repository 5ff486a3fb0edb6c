use roundel_testkit::wire::Case;

pub fn cases() -> Vec<Case> {
    Vec::new()
}

//! What must hold for any configuration: shared by the fuzz target and the corpus replay.

use roundel_config::{LoadError, Settings, read_text};

/// A text is refused in words, or it means something that can be shown, and what is shown means
/// the same.
pub(crate) fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let settings = match read_text(text) {
        Ok(settings) => settings,
        Err(LoadError::Usage(words)) => return assert!(!words.is_empty()),
        Err(LoadError::Problems(problems)) => {
            assert!(problems.count() > 0 && !problems.headline().is_empty());
            return assert!(!problems.to_string().is_empty());
        }
    };
    // Secrets are not shown, and what needs one cannot be read again without it.
    if text.contains("key") || text.contains("token") {
        let _ = settings.to_string();
        return;
    }
    let shown = values(&settings);
    match read_text(&shown) {
        Ok(again) => assert_eq!(values(&again), shown, "{text:?}"),
        Err(LoadError::Usage(words)) => panic!("{words}\n{shown}"),
        Err(LoadError::Problems(problems)) => panic!("{problems}\n{shown}"),
    }
}

/// What is shown without the remarks on where it came from.
fn values(settings: &Settings) -> String {
    let text = settings.to_string();
    let value = |line: &str| match line.rfind(" # ") {
        Some(at) => line[..at].trim_end().to_owned(),
        None => line.to_owned(),
    };
    text.lines().map(|line| value(line) + "\n").collect()
}

//! Error pages: files that are read with the configuration.

use std::io::{Error, ErrorKind};
use std::path::Path;

use roundel_proxy::Page;

use super::Merge;
use crate::ErrorPages;
use crate::file::PageFiles;
use crate::key::Maybe;
use crate::value::{Fault, show_size};

/// More than any page that is to arrive when everything else is slow.
const LARGEST: u64 = 256 * 1024;

impl Merge<'_> {
    pub(crate) fn pages(&self, at: &mut Maybe<PageFiles>) -> ErrorPages {
        let mut pages = ErrorPages::new();
        let Some(at) = at else { return pages };
        for (status, file) in &mut at.value {
            file.value = self.relative(&file.value);
            match read(&file.value) {
                Ok(page) => {
                    pages.insert(*status, (file.value.clone(), page));
                }
                Err(fault) => self.reader.report_at(&file.place, fault),
            }
        }
        pages
    }
}

fn read(path: &Path) -> Result<Page, Fault> {
    let shown = path.display();
    let content_type = content_type(path).ok_or_else(|| {
        Fault::new(
            format!("{shown} has no ending that says what it is"),
            "name it .html, .txt, .json or .xml",
        )
    })?;
    let unreadable = |error: Error| {
        Fault::new(
            format!("cannot read {shown}: {error}"),
            "name a file beside the configuration, or by its whole path",
        )
    };
    let body = roundel_files::read(path, LARGEST).map_err(|error| match error.kind() {
        ErrorKind::FileTooLarge => Fault::new(
            format!("{shown} is larger than {}", show_size(LARGEST)),
            "keep the page small, and its images elsewhere",
        ),
        _ => unreadable(error),
    })?;
    let body = body.into();
    Ok(Page { content_type, body })
}

fn content_type(path: &Path) -> Option<&'static str> {
    Some(match path.extension()?.to_str()? {
        "html" | "htm" => "text/html; charset=utf-8",
        "txt" => "text/plain; charset=utf-8",
        "json" => "application/json",
        "xml" => "application/xml",
        _ => return None,
    })
}

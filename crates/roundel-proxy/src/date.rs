//! Dates in UTC, as heads and log lines write them.

use std::time::Duration;

/// The names of the months in every format used here.
pub(crate) const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// A moment, taken apart.
pub(crate) struct Civil {
    pub(crate) year: u32,
    /// 1 to 12.
    pub(crate) month: u32,
    pub(crate) day: u32,
    pub(crate) hour: u32,
    pub(crate) minute: u32,
    pub(crate) second: u32,
}

/// Takes a time since the Unix epoch apart.
///
/// Source: Howard Hinnant, "chrono-compatible low-level date algorithms", civil_from_days.
pub(crate) fn civil(at: Duration) -> Civil {
    let (days, seconds) = (at.as_secs() / 86_400, (at.as_secs() % 86_400) as u32);
    let z = days + 719_468;
    let (era, doe) = (z / 146_097, z % 146_097);
    let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    Civil {
        year: (yoe + era * 400 + u64::from(month <= 2)) as u32,
        month: month as u32,
        day: (doy - (153 * mp + 2) / 5 + 1) as u32,
        hour: seconds / 3600,
        minute: seconds / 60 % 60,
        second: seconds % 60,
    }
}

/// Writes an IMF-fixdate (RFC 9110 5.6.7): `Sun, 06 Nov 1994 08:49:37 GMT`.
pub(crate) fn imf_fixdate(at: Duration) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    let c = civil(at);
    format!(
        "{}, {:02} {} {:04} {:02}:{:02}:{:02} GMT",
        DAYS[(at.as_secs() / 86_400 % 7) as usize],
        c.day,
        MONTHS[c.month as usize - 1],
        c.year,
        c.hour,
        c.minute,
        c.second
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_around_leap_days() {
        let date = |seconds| {
            let c = civil(Duration::from_secs(seconds));
            (c.year, c.month, c.day)
        };
        assert_eq!(date(0), (1970, 1, 1));
        assert_eq!(date(951_782_400), (2000, 2, 29));
        assert_eq!(date(1_709_251_199), (2024, 2, 29));
        assert_eq!(date(1_709_251_200), (2024, 3, 1));
        assert_eq!(date(4_102_444_799), (2099, 12, 31));
    }

    #[test]
    fn the_date_of_the_rfc() {
        assert_eq!(
            imf_fixdate(Duration::from_secs(784_111_777)),
            "Sun, 06 Nov 1994 08:49:37 GMT"
        );
    }
}

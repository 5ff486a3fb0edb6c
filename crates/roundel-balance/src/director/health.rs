//! How many results in a row decide.

use crate::CheckSpec;

/// The check's verdict on one server, with HAProxy's numbers.
///
/// Shape: `value` runs from 0 to `rise + fall − 1`; the server is up from `rise` on. A failure
/// of an up server takes one off, a pass of a down one adds one, and reaching `rise` or falling
/// below it jumps to the end of the scale. A fresh server is neither until it has failed `fall`
/// times; then it was never up. Its first pass brings it to the top.
/// Source: `set_server_check_status` in HAProxy's check.c.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Health {
    value: u32,
    rise: u32,
    fall: u32,
    fresh: bool,
    /// Failures before the first pass, at most `fall`.
    stillborn: u32,
}

impl Health {
    pub(super) fn new(spec: &CheckSpec) -> Self {
        Self {
            value: 0,
            rise: spec.rise.max(1),
            fall: spec.fall.max(1),
            fresh: true,
            stillborn: 0,
        }
    }

    fn top(&self) -> u32 {
        self.rise + self.fall - 1
    }

    pub(super) fn value(&self) -> u32 {
        self.value
    }

    pub(super) fn rise(&self) -> u32 {
        self.rise
    }

    pub(super) fn fall(&self) -> u32 {
        self.fall
    }

    /// Whether no check has passed yet.
    pub(super) fn is_fresh(&self) -> bool {
        self.fresh
    }

    /// Whether it has failed as often as an up server may not, without ever having passed.
    pub(super) fn was_never_up(&self) -> bool {
        self.fresh && self.stillborn >= self.fall
    }

    pub(super) fn is_up(&self) -> bool {
        !self.fresh && self.value >= self.rise
    }

    /// Whether the next results may change the verdict.
    pub(super) fn is_in_transition(&self) -> bool {
        self.fresh || (self.value != 0 && self.value != self.top())
    }

    pub(super) fn pass(&mut self) {
        if self.fresh {
            return self.assume_up();
        }
        if self.value < self.top() {
            self.value += 1;
            if self.value >= self.rise {
                self.value = self.top();
            }
        }
    }

    pub(super) fn fail(&mut self) {
        if self.fresh {
            self.stillborn = (self.stillborn + 1).min(self.fall);
        } else if self.value > self.rise {
            self.value -= 1;
        } else {
            self.value = 0;
        }
    }

    /// Goes down at once. A fresh server stays fresh.
    pub(super) fn sink(&mut self) {
        self.value = 0;
        self.give_up();
    }

    /// Failures that counted before the first pass.
    pub(super) fn stillborn(&self) -> u32 {
        self.stillborn
    }

    /// Holds a fresh server for one that was never up.
    pub(super) fn give_up(&mut self) {
        self.stillborn = self.fall;
    }

    /// Holds a fresh server for up: nobody will check it.
    pub(super) fn trust(&mut self) {
        if self.fresh {
            self.assume_up();
        }
    }

    pub(super) fn assume_up(&mut self) {
        self.fresh = false;
        self.value = self.top();
    }

    pub(super) fn assume_down(&mut self) {
        self.fresh = false;
        self.value = 0;
    }

    /// Takes other limits and keeps the verdict; a server that was never up begins anew.
    pub(super) fn reshape(&mut self, spec: &CheckSpec) {
        let up = self.is_up();
        self.stillborn = 0;
        (self.rise, self.fall) = (spec.rise.max(1), spec.fall.max(1));
        self.value = if up { self.top() } else { 0 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health(rise: u32, fall: u32) -> Health {
        Health::new(&CheckSpec {
            rise,
            fall,
            ..CheckSpec::default()
        })
    }

    #[test]
    fn one_pass_is_enough_at_birth_only() {
        let mut h = health(2, 3);
        h.fail();
        h.fail();
        assert!(!h.is_up() && h.is_fresh() && !h.was_never_up());
        h.fail();
        assert!(h.was_never_up());
        h.pass();
        assert!(!h.was_never_up());
        assert!(h.is_up());
        assert_eq!(h.value(), 4);
        h.sink();
        h.pass();
        assert!(!h.is_up());
        h.pass();
        assert!(h.is_up());
    }

    #[test]
    fn fall_failures_in_a_row_put_it_down() {
        let mut h = health(2, 3);
        h.pass();
        for _ in 0..5 {
            h.fail();
            h.fail();
            assert!(h.is_up());
            h.pass();
        }
        for _ in 0..3 {
            h.fail();
        }
        assert!(!h.is_up());
        assert_eq!(h.value(), 0);
    }

    #[test]
    fn one_and_one_follow_every_result() {
        let mut h = health(1, 1);
        h.pass();
        assert!(h.is_up() && !h.is_in_transition());
        h.fail();
        assert!(!h.is_up() && !h.is_in_transition());
        h.pass();
        assert!(h.is_up());
    }
}

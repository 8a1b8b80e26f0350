//! Every way for joining to come to nothing, in words for the person who typed the ticket or the code: what, cause, fix.

use std::net::SocketAddr;

use super::words::{self, No};
use crate::model::reply::{Code, Refusal};
use crate::model::text::Foreign;

/// Bytes of the inviter's own words that are shown.
const WORDS_BYTES_MAX: usize = 300;

/// By what somebody joins: errors name it, and the command that makes another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// A ticket.
    Ticket,
    /// A code.
    Code,
}

impl By {
    fn word(self) -> &'static str {
        match self {
            By::Ticket => "ticket",
            By::Code => "code",
        }
    }

    fn again(self) -> &'static str {
        match self {
            By::Ticket => "run `hubless pair --ticket` again on the other device",
            By::Code => "run `hubless pair` again on the other device, and type the new code",
        }
    }

    fn spent(self) -> Code {
        match self {
            By::Ticket => Code::TicketSpent,
            By::Code => Code::CodeSpent,
        }
    }

    fn expired(self) -> Code {
        match self {
            By::Ticket => Code::TicketSpent,
            By::Code => Code::CodeExpired,
        }
    }

    /// What the inviter's no means.
    pub(crate) fn refusal(self, no: No) -> Refusal {
        let word = self.word();
        match no {
            No::Busy => Refusal::new(Code::Busy, "the other device is pairing with somebody else just now")
                .fix("try again in a moment; the code stays good unless that one was right"),
            No::Used => Refusal::new(self.spent(), format!("this {word} was used already, by another device"))
                .because("a code or ticket lets one device in, the first that comes with it")
                .fix(format!("look there whom it let in (`hubless devices`), then {}", self.again())),
            No::Tried => Refusal::new(self.spent(), format!("this {word} was tried too often: three tries were wrong"))
                .because("somebody mistyped it, or tried to guess it; nobody was let in")
                .fix(self.again()),
            No::Replaced => Refusal::new(self.spent(), format!("a newer window was opened, which this {word} is not of"))
                .because("of one device's windows only the newest counts")
                .fix(self.again()),
            No::Expired => self.late(None),
            No::Mismatch => self.mismatch("a digit is wrong, or someone else may be answering on this network; nothing was shared"),
            No::Relayed => relayed(),
            No::Joining => Refusal::new(Code::Busy, "the other device is joining this one already")
                .because("both devices were given the other's code at once; one of them lets the other in")
                .fix("nothing more to do if `hubless devices` shows it; else `hubless pair` again"),
            No::Late => Refusal::new(Code::TimedOut, "the other device's daemon did not decide in time").fix(self.again()),
            No::TurnedAway(reason, what, fix) => turned_away(&reason, what, fix),
        }
    }

    /// The time is over.
    pub(crate) fn late(self, why: Option<&str>) -> Refusal {
        let cause = "a code or ticket is good for three minutes";
        Refusal::new(self.expired(), format!("the {}'s time is over, the other device let it go", self.word()))
            .because(why.map_or_else(|| cause.to_owned(), |why| format!("{cause} ({why})")))
            .fix(self.again())
    }

    /// The two do not know the same secret.
    pub(crate) fn mismatch(self, cause: &str) -> Refusal {
        let fix = match self {
            By::Ticket => "copy the ticket again, or run `hubless pair --ticket` again on the other device",
            By::Code => "look at the digits again; after three wrong tries, `hubless pair` again, on a network you trust",
        };
        let what = match self {
            By::Ticket => "pairing refused: the two devices do not agree on the ticket",
            By::Code => "pairing refused: the code does not match",
        };
        Refusal::new(Code::PairMismatch, what).because(cause).fix(fix)
    }

    /// Nobody answers where the window is said to be.
    pub(crate) fn unreachable(self, tried: &[SocketAddr], why: &str) -> Refusal {
        let tried: Vec<String> = tried.iter().map(ToString::to_string).collect();
        Refusal::new(Code::Unreachable, format!("the other device cannot be reached at {}", tried.join(", ")))
            .because(why)
            .fix("check that its daemon runs (`hubless up`), that its window is open, and that both devices are in the same network")
    }

    /// The conversation broke off.
    pub(crate) fn broken(self, cause: &str) -> Refusal {
        Refusal::new(Code::Unreachable, "pairing broke off").because(cause).fix(self.again())
    }

    /// The other device fell silent.
    pub(crate) fn timed_out(self) -> Refusal {
        Refusal::new(Code::TimedOut, "the other device did not answer in time").fix(self.again())
    }
}

/// Somebody stands between.
pub(crate) fn relayed() -> Refusal {
    Refusal::new(Code::PairIntercepted, "pairing refused: somebody stands between the two devices")
        .because("the other device talks to a third one that hands on what this one says; nothing was shared")
        .fix("`hubless pair` again on both devices, on a network you trust, or with --addr HOST:PORT")
}

/// Nobody announces a window with those digits.
pub(crate) fn not_found(place: &str, mdns: bool) -> Refusal {
    let cause = match mdns {
        true => {
            format!("nobody on this network shows a code that begins with {place}: its three minutes may be over, or multicast is blocked")
        }
        false => "this device does not look around on the network (network.mdns = false)".to_owned(),
    };
    Refusal::new(Code::CodeNotFound, "no device with that code is in reach")
        .because(cause)
        .fix("`hubless pair` again on the other device; or name its address: hubless pair CODE --addr HOST:PORT")
}

/// The inviter's own words, made plain.
fn turned_away(reason: &str, what: String, fix: Option<String>) -> Refusal {
    let codes = [Code::AlreadyPaired, Code::Busy, Code::Storage, Code::TimedOut, Code::TicketSpent, Code::PairMismatch];
    let code = codes.into_iter().find(|c| c.word() == reason).unwrap_or(Code::BadRequest);
    let foreign = |text| words::cut(Foreign::new(text).plain(), WORDS_BYTES_MAX);
    let refusal = Refusal::new(code, format!("the other device does not let this one in: {}", foreign(what)));
    match fix {
        Some(fix) => refusal.fix(foreign(fix)),
        None => refusal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_no_has_its_own_words_and_a_fix() {
        let all = [No::Busy, No::Used, No::Tried, No::Expired, No::Replaced, No::Mismatch, No::Relayed, No::Joining, No::Late];
        for by in [By::Ticket, By::Code] {
            let said: Vec<Refusal> = all.iter().map(|no| by.refusal(no.clone())).collect();
            for (n, why) in said.iter().enumerate() {
                assert!(why.fix.is_some(), "{why:?}");
                assert!(said[n + 1..].iter().all(|other| other.what != why.what), "{why:?}");
            }
        }
        let codes: Vec<Code> = [No::Mismatch, No::Expired, No::Used, No::Relayed].map(|no| By::Code.refusal(no).code).to_vec();
        assert_eq!(codes, [Code::PairMismatch, Code::CodeExpired, Code::CodeSpent, Code::PairIntercepted]);
    }
}

//! Markup that is inert by construction: only texts of the program itself enter as they stand, everything else is escaped.
//!
//! What is written is summed on the way. The sum is of what a person would call the content: the words of an age are left out of
//! it and the moment itself is taken, so that a part whose ages alone have changed counts as unchanged.

use crate::api::reads;
use crate::model::text::Foreign;

/// Letters of a text that a row shows; the thing's own page shows all of it.
const BRIEF_LETTERS: usize = 240;

/// A piece of a page.
pub(crate) struct Html {
    out: String,
    sum: blake3::Hasher,
    now_ms: i64,
}

impl Html {
    /// An empty piece; `now_ms` is what its ages are counted to.
    pub(crate) fn new(now_ms: i64) -> Html {
        Html { out: String::new(), sum: blake3::Hasher::new(), now_ms }
    }

    /// The moment that ages are counted to, milliseconds since 1970.
    pub(crate) fn now_ms(&self) -> i64 {
        self.now_ms
    }

    /// Markup of the program itself.
    pub(crate) fn raw(&mut self, markup: &'static str) -> &mut Html {
        self.push(markup)
    }

    /// Any text, as text or within a quoted attribute.
    pub(crate) fn text(&mut self, text: &str) -> &mut Html {
        let escaped = Foreign::new(text).html();
        self.push(&escaped)
    }

    /// A number.
    pub(crate) fn n(&mut self, number: impl Into<i128>) -> &mut Html {
        let shown = number.into().to_string();
        self.push(&shown)
    }

    /// A count.
    pub(crate) fn count(&mut self, count: usize) -> &mut Html {
        self.push(&count.to_string())
    }

    /// A count with its noun.
    pub(crate) fn counted(&mut self, count: usize, one: &'static str, many: &'static str) -> &mut Html {
        self.count(count).raw(" ").raw(if count == 1 { one } else { many })
    }

    /// All of a text that an agent, a tool or a device wrote. Its direction cannot touch its neighbours.
    pub(crate) fn whole(&mut self, text: &Foreign) -> &mut Html {
        self.raw("<bdi>").push(&text.html()).raw("</bdi>")
    }

    /// The beginning of such a text.
    pub(crate) fn brief(&mut self, text: &Foreign) -> &mut Html {
        match text.json().char_indices().nth(BRIEF_LETTERS) {
            None => self.whole(text),
            Some((end, _)) => self.raw("<bdi>").push(&Foreign::new(&text.json()[..end]).html()).raw("…</bdi>"),
        }
    }

    /// How long since `at`. A screen reader is told the time of day instead, which does not change every second.
    pub(crate) fn age(&mut self, at: i64) -> &mut Html {
        self.since(at, ("", ""), " since ")
    }

    /// As [`Html::age`], of what lasts: `for 12m`.
    pub(crate) fn lasting(&mut self, at: i64) -> &mut Html {
        self.since(at, ("for ", ""), " since ")
    }

    /// As [`Html::age`], of what is over: `12m ago`.
    pub(crate) fn ago(&mut self, at: i64) -> &mut Html {
        self.since(at, ("", " ago"), " at ")
    }

    fn since(&mut self, at: i64, (before, after): (&'static str, &'static str), spoken: &'static str) -> &mut Html {
        let now_ms = self.now_ms;
        self.raw("<time data-age data-before=\"").raw(before).raw("\" data-after=\"").raw(after).raw("\" datetime=\"");
        self.push(&moment(at)).raw("\"><span aria-hidden=\"true\">").raw(before);
        self.out.push_str(&age(now_ms, at));
        self.raw(after).raw("</span><span class=\"vh\">").raw(spoken).push(&clock(at, now_ms)).raw("</span></time>")
    }

    /// A moment as people of this place write it.
    pub(crate) fn at(&mut self, at: i64) -> &mut Html {
        let shown = clock(at, self.now_ms);
        self.raw("<time datetime=\"").push(&moment(at)).raw("\">").push(&shown).raw("</time>")
    }

    /// A part of a path, in percent signs where need be.
    pub(crate) fn path(&mut self, part: &str) -> &mut Html {
        let coded = percent(part);
        self.push(&coded)
    }

    /// What was written, and its sum.
    pub(crate) fn done(self) -> (String, String) {
        (self.out, self.sum.finalize().to_hex()[..12].to_owned())
    }

    fn push(&mut self, text: &str) -> &mut Html {
        self.out.push_str(text);
        self.sum.update(text.as_bytes());
        self
    }
}

/// A text as one part of a path.
pub(crate) fn percent(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// How long ago, in the two largest units; a moment ahead of our clock is now.
pub(crate) fn age(now_ms: i64, then_ms: i64) -> String {
    let seconds = now_ms.saturating_sub(then_ms).max(0) / 1000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m"),
        (0, _, _) => format!("{hours}h {:02}m", minutes % 60),
        _ => format!("{days}d {:02}h", hours % 24),
    }
}

fn here(at: i64) -> Option<jiff::Zoned> {
    jiff::Timestamp::from_millisecond(at).ok().map(|at| at.to_zoned(jiff::tz::TimeZone::system()))
}

/// A moment as machines read it.
pub(crate) fn moment(at: i64) -> String {
    reads::iso(at).as_str().unwrap_or_default().to_owned()
}

/// The time of day where this machine is; with the day when that is not the day of `now_ms`.
pub(crate) fn clock(at: i64, now_ms: i64) -> String {
    let Some(at) = here(at) else { return "?".to_owned() };
    let same_day = here(now_ms).is_some_and(|now| now.date() == at.date());
    at.strftime(if same_day { "%H:%M" } else { "%-d %b %H:%M" }).to_string()
}

/// The time of day to the second.
pub(crate) fn clock_s(at: i64) -> String {
    here(at).map(|at| at.strftime("%H:%M:%S").to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickcheck::quickcheck;

    const NOW: i64 = 1_772_460_131_000;

    quickcheck! {
        fn nothing_that_a_browser_obeys_comes_of_a_text(text: String) -> bool {
            let mut html = Html::new(NOW);
            let foreign = Foreign::new(text.clone());
            html.text(&text).whole(&foreign).brief(&foreign).path(&text);
            let (out, _) = html.done();
            let bare = out.replace("<bdi>", "").replace("</bdi>", "");
            !bare.contains(['<', '>', '"', '\''])
        }
    }

    #[test]
    fn the_words_of_an_age_do_not_count_and_the_moment_does() {
        let sum = |now_ms: i64, at: i64| {
            let mut html = Html::new(now_ms);
            html.age(at);
            html.done().1
        };
        assert_eq!(sum(NOW, NOW - 5_000), sum(NOW + 1_000, NOW - 5_000));
        assert_ne!(sum(NOW, NOW - 5_000), sum(NOW, NOW - 6_000));
    }

    #[test]
    fn ages_are_in_the_two_largest_units() {
        for (seconds, shown) in [(-5, "0s"), (0, "0s"), (59, "59s"), (60, "1m"), (3_599, "59m"), (7_800, "2h 10m"), (90_000, "1d 01h")] {
            assert_eq!(age(NOW, NOW - seconds * 1000), shown);
        }
        assert_eq!(age(i64::MAX, i64::MIN).chars().last(), Some('h'));
    }

    #[test]
    fn a_part_of_a_path_is_one_part() {
        assert_eq!(percent("github.com/acme/a b?#%ä"), "github.com%2Facme%2Fa%20b%3F%23%25%C3%A4");
    }
}

//! How fast may be said: a bucket of tokens, as the moment at which the next byte may go.
//!
//! Over any span no more goes than `rate × span` and one burst. Places are given in the order in which they were asked for, so
//! that of several who share a bucket none starves. Pure: the caller's clock, in nanoseconds that only count up.

/// What may go at once after a pause, as time at the full rate: a tenth of a second.
const BURST_NS: u64 = 100_000_000;

/// One limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    /// Bytes a second.
    rate: u64,
    /// When all that was asked for has been paid.
    free_ns: u64,
}

impl Bucket {
    /// A bucket of so many bytes a second, empty at the beginning.
    #[must_use]
    pub fn new(rate: u64, now_ns: u64) -> Bucket {
        Bucket { rate: rate.max(1), free_ns: now_ns }
    }

    /// Bytes a second.
    #[must_use]
    pub fn rate(&self) -> u64 {
        self.rate
    }

    /// Takes a place for so many bytes; they may go at that moment.
    pub fn place(&mut self, bytes: usize, now_ns: u64) -> u64 {
        let begins = self.free_ns.max(now_ns.saturating_sub(BURST_NS));
        let span = u128::from(bytes as u64) * 1_000_000_000 / u128::from(self.rate);
        self.free_ns = begins.saturating_add(u64::try_from(span).unwrap_or(u64::MAX));
        begins.max(now_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickcheck::quickcheck;

    const SECOND: u64 = 1_000_000_000;

    /// Says frames as soon as each may go, with pauses before some; gives (when, bytes) of each.
    fn say(rate: u64, frames: &[(u16, u8)]) -> Vec<(u64, u64)> {
        let (mut bucket, mut now) = (Bucket::new(rate, 7), 7);
        let mut said = Vec::new();
        for (bytes, pause) in frames {
            now += u64::from(*pause / 64) * u64::from(*pause) * 1_000_000;
            now = bucket.place(usize::from(*bytes), now);
            said.push((now, u64::from(*bytes)));
        }
        said
    }

    quickcheck! {
        fn over_no_span_goes_more_than_rate_and_burst(rate: u16, frames: Vec<(u16, u8)>) -> bool {
            let rate = u64::from(rate) + 1_000;
            let said = say(rate, &frames);
            (0..said.len()).all(|from| (from..said.len()).all(|to| {
                let bytes: u64 = said[from..to].iter().map(|(_, bytes)| bytes).sum();
                let span = said[to].0 - said[from].0 + BURST_NS;
                // Every place is rounded down by less than a nanosecond.
                bytes * SECOND <= (span + (to - from) as u64 + 1) * rate
            }))
        }

        fn who_always_has_something_to_say_says_the_whole_rate(rate: u16, frames: Vec<u16>) -> bool {
            let rate = u64::from(rate) + 1_000;
            let frames: Vec<(u16, u8)> = frames.into_iter().map(|bytes| (bytes, 0)).collect();
            let said = say(rate, &frames);
            let Some((last, _)) = said.last() else { return true };
            let bytes: u64 = said[..said.len() - 1].iter().map(|(_, bytes)| bytes).sum();
            (last - 7) * rate <= bytes * SECOND && bytes * SECOND <= (last - 7 + said.len() as u64) * rate
        }
    }

    #[test]
    fn ten_seconds_of_two_megabytes_a_second_are_twenty_megabytes_give_or_take_a_hundredth() {
        let (mut bucket, mut now, mut bytes) = (Bucket::new(2_000_000, 0), 0, 0);
        while now < 10 * SECOND {
            bytes += 16_384;
            now = bucket.place(16_384, now);
        }
        assert!((19_800_000..=20_200_000).contains(&bytes), "{bytes}");
    }

    #[test]
    fn of_two_who_share_each_gets_half_and_a_pause_is_no_savings() {
        let (mut bucket, mut said) = (Bucket::new(1_000_000, 0), [0u64; 2]);
        let mut free = [0; 2];
        loop {
            let who = usize::from(free[1] < free[0]);
            let at = bucket.place(10_000, free[who]);
            if at > 5 * SECOND {
                break;
            }
            (free[who], said[who]) = (at, said[who] + 10_000);
        }
        assert!(said[0].abs_diff(said[1]) <= 10_000, "{said:?}");
        let mut bucket = Bucket::new(1_000_000, 0);
        let hour = 3_600 * SECOND;
        let go: Vec<u64> = (0..40).map(|_| bucket.place(10_000, hour) - hour).collect();
        assert!(go[10] == 0 && go[11] > 0 && go[39] == 29 * SECOND / 100, "{go:?}");
    }
}

//! The person at an open pairing window: told once of everything that comes to it, whoever asks when.

use crate::model::ask::Tries;
use crate::model::effects::Effects;
use crate::model::id::Asker;
use crate::model::input::LinkAction;
use crate::model::reply::{Code, Refusal, Reply};

/// The newest window, if any was opened in this life.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// Who asked for it: its number.
    of: Option<Asker>,
    tries: Tries,
    over: Option<Reply>,
    waiting: Option<(Asker, Tries)>,
}

impl Window {
    /// Just opened.
    #[must_use]
    pub(super) fn open(of: Asker) -> Window {
        Window { of: Some(of), ..Window::default() }
    }

    /// Somebody waits for what comes; who knows less than there is hears it at once.
    pub(super) fn wait(&mut self, asker: Asker, window: u64, known: Tries, out: &mut Effects) {
        if self.of != Some(Asker(window)) {
            out.reply.push((asker, Reply::Refused(gone())));
            return;
        }
        if let Some((older, _)) = self.waiting.replace((asker, known)) {
            let why = Refusal::new(Code::Busy, "another command waits at this window now");
            out.reply.push((older, Reply::Refused(why)));
        }
        self.tell(out);
    }

    /// Somebody came and was not let in.
    pub(super) fn tried(&mut self, of: Asker, tries: Tries, out: &mut Effects) {
        if self.of == Some(of) {
            self.tries = tries;
            self.tell(out);
        }
    }

    /// Nobody is let in any more; the first reason counts.
    pub(super) fn end(&mut self, of: Asker, reply: Reply, out: &mut Effects) {
        if self.of == Some(of) {
            self.over.get_or_insert(reply);
            self.tell(out);
        }
    }

    /// A newer one is about to be opened, here or nowhere.
    pub(super) fn close(&mut self, out: &mut Effects) {
        if let Some(of) = self.of {
            self.end(of, Reply::Refused(gone()), out);
        }
    }

    /// Somebody closes it (`left`: if nobody waits at it); a newer one stays.
    pub(super) fn close_of(&mut self, window: u64, left: bool, out: &mut Effects) -> Reply {
        let of = Asker(window);
        if self.of == Some(of) && self.over.is_none() && !(left && self.waiting.is_some()) {
            out.tell.push(LinkAction::CloseWindow { asker: of });
            self.end(of, Reply::Refused(Refusal::new(Code::WindowClosed, "the window was closed").fix("hubless pair")), out);
        }
        Reply::WindowClosed
    }

    fn tell(&mut self, out: &mut Effects) {
        let Some((asker, known)) = self.waiting else { return };
        if self.tries != known && self.over.is_none() {
            out.reply.push((asker, Reply::Tried(self.tries)));
        } else if let Some(over) = &self.over {
            out.reply.push((asker, over.clone()));
        } else {
            return;
        }
        self.waiting = None;
    }
}

fn gone() -> Refusal {
    Refusal::new(Code::CodeSpent, "that window is not open any more")
        .because("a newer one was opened on this device, or its daemon was started again")
        .fix("hubless pair")
}

#[cfg(test)]
mod tests {
    use super::*;

    const OF: Asker = Asker(7);

    fn told(out: &mut Effects) -> Vec<(u64, Reply)> {
        std::mem::take(&mut out.reply).into_iter().map(|(asker, reply)| (asker.0, reply)).collect()
    }

    #[test]
    fn who_waits_hears_each_thing_once_and_the_end_whenever_it_asks() {
        let (mut window, mut out) = (Window::open(OF), Effects::default());
        let (none, one) = (Tries::default(), Tries { wrong: 1, relayed: 0 });
        window.wait(Asker(8), 7, none, &mut out);
        assert_eq!(told(&mut out), []);
        window.tried(OF, one, &mut out);
        assert_eq!(told(&mut out), [(8, Reply::Tried(one))]);
        window.tried(OF, Tries { wrong: 2, relayed: 0 }, &mut out);
        assert_eq!(told(&mut out), [], "nobody waits");
        window.wait(Asker(9), 7, one, &mut out);
        assert_eq!(told(&mut out), [(9, Reply::Tried(Tries { wrong: 2, relayed: 0 }))], "what came between is told at once");
        window.end(OF, Reply::Left, &mut out);
        window.end(OF, Reply::WindowClosed, &mut out);
        for asker in 10..12 {
            window.wait(Asker(asker), 7, none, &mut out);
            assert_eq!(told(&mut out), [(asker, Reply::Left)], "the first end counts, for everybody who asks");
        }
    }

    #[test]
    fn closing_one_leaves_a_newer_one_open_and_a_later_wait_takes_the_place_of_an_earlier() {
        let (mut window, mut out) = (Window::open(OF), Effects::default());
        assert_eq!(window.close_of(6, false, &mut out), Reply::WindowClosed);
        assert!(out.tell.is_empty());
        window.wait(Asker(8), 7, Tries::default(), &mut out);
        window.wait(Asker(9), 7, Tries::default(), &mut out);
        assert!(matches!(told(&mut out).as_slice(), [(8, Reply::Refused(why))] if why.code == Code::Busy));
        window.close_of(7, true, &mut out);
        assert!(out.tell.is_empty() && out.reply.is_empty(), "somebody waits at it");
        window.close_of(7, false, &mut out);
        assert_eq!(out.tell, [LinkAction::CloseWindow { asker: OF }]);
        assert!(matches!(told(&mut out).as_slice(), [(9, Reply::Refused(why))] if why.code == Code::WindowClosed));
        window.wait(Asker(10), 6, Tries::default(), &mut out);
        assert!(matches!(told(&mut out).as_slice(), [(10, Reply::Refused(why))] if why.code == Code::CodeSpent));
    }
}

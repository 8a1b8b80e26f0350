//! Tags that a session is given by hand, by anybody in the fleet: once facts, so that two that were given at once both stay.

use std::collections::BTreeSet;

use crate::model::effects::Effects;
use crate::model::fact::FactKey;
use crate::model::id::SessionId;
use crate::model::limits::{COUNT_MAX, TAG_CHARS_MAX};
use crate::model::reply::{Code, Refusal, Reply};
use crate::model::session::TagFact;
use crate::model::text::Foreign;
use crate::model::time::Now;
use crate::model::todo::{By, tag_key};

use super::machine::Replica;
use super::saved;

impl Replica {
    /// A session has these tags from now on, or has them no more. What is so already is not said again.
    pub(super) fn tag_session(
        &mut self,
        session: SessionId,
        (tags, on): (&[Foreign], bool),
        agent: Option<Foreign>,
        now: Now,
        out: &mut Effects,
    ) -> Result<Reply, Refusal> {
        let keys: BTreeSet<String> = tags.iter().map(tag_key).collect();
        if keys.is_empty() || keys.iter().any(|key| key.is_empty() || key.chars().count() > TAG_CHARS_MAX) {
            return Err(Refusal::new(Code::BadRequest, format!("a tag is a word of at most {TAG_CHARS_MAX} characters")));
        }
        let Some(shard) = self.showing.session(&session).map(saved::sessions) else {
            return Err(Refusal::new(Code::BadRequest, "no such session").fix("hubless sessions list"));
        };
        let known = self.showing.tags(&session).cloned().unwrap_or_default();
        let by =
            By { device: self.me.device, agent: agent.filter(|agent| !agent.is_blank()).map(|agent| self.called(agent)), session: None };
        let at = self.hlc.max(known.at()).next(now.wall_ms);
        let news = keys.into_iter().map(|key| (known.word(&key), key)).filter(|((_, is_on), _)| *is_on != on);
        let mut facts = Vec::new();
        for ((rev, _), key) in news {
            if rev >= COUNT_MAX {
                // A member wrote the last number that there is: nothing after it would count.
                return Err(Refusal::new(Code::NotPermitted, "this tag cannot be changed any more: its counter is used up")
                    .because("a device of the fleet wrote the highest number that there is")
                    .fix("another tag; and look at `hubless devices`"));
            }
            let fact = TagFact { tag: Foreign::new(key), on, rev: rev + 1, by: by.clone(), at };
            facts.push((FactKey::Tag(session, self.unique()), saved::json(&fact)));
        }
        if !facts.is_empty() {
            self.hlc = at;
            self.write(&shard, &facts, out);
            self.learn_changed(now);
        }
        Ok(Reply::Tagged { session })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::conversations::{Node, pair, talk, up};
    use super::*;
    use crate::model::ask::{Ask, SessionRecord};
    use crate::model::id::LinkId;

    fn tag(node: &mut Node, t: u64, session: SessionId, tags: &[&str], on: bool) -> Reply {
        let tags = tags.iter().map(|tag| Foreign::from(*tag)).collect();
        node.ask(t, Ask::Tag { session, tags, on, agent: None })
    }

    fn shown(node: &Node, session: SessionId) -> BTreeSet<String> {
        node.r.view().sessions[&session].tags.iter().map(|tag| tag.json().to_owned()).collect()
    }

    fn meet(a: &mut Node, b: &mut Node, link: u64, t: u64) {
        let link = LinkId(link);
        let (to_a, to_b) = up(a, b, link, t);
        talk(a, b, link, t, to_a, to_b, 20_000);
        for node in [a, b] {
            let _ = node.step(t + 1, crate::model::input::Input::Peer(crate::model::input::PeerEvent::Down { link, why: "x".into() }));
        }
    }

    #[test]
    fn two_devices_tag_one_session_apart_and_agree() {
        let (mut a, mut b) = (Node::new(1), Node::new(2));
        pair(&mut a, &mut b);
        let record = SessionRecord {
            tool: "claude".into(),
            id: "5c".into(),
            agent: Some("sam".into()),
            cwd: None,
            remote: None,
            branch: None,
            title: None,
            started: None,
        };
        let Reply::Sessions { sessions, .. } = a.ask(2, Ask::Sessions(vec![record])) else { panic!("taken") };
        let session = sessions[0];
        assert!(matches!(tag(&mut b, 2, session, &["x"], true), Reply::Refused(_)), "not known there yet");
        meet(&mut a, &mut b, 1, 3);
        assert_eq!(tag(&mut a, 5, session, &[" Urgent", "api"], true), Reply::Tagged { session });
        assert_eq!(shown(&a, session), BTreeSet::from(["urgent".into(), "api".into()]));
        tag(&mut b, 5, session, &["web"], true);
        meet(&mut a, &mut b, 2, 6);
        assert_eq!((shown(&a, session), shown(&a, session).len()), (shown(&b, session), 3), "both stay");
        // What is so already is not said again.
        assert!(
            a.step(
                9,
                crate::model::input::Input::Ask(
                    crate::model::id::Asker(1),
                    Ask::Tag { session, tags: vec!["WEB".into()], on: true, agent: None }
                )
            )
            .keep
            .is_empty()
        );
        tag(&mut b, 9, session, &["urgent", "none"], false);
        meet(&mut a, &mut b, 3, 10);
        assert_eq!((shown(&a, session), shown(&b, session)), (BTreeSet::from(["api".into(), "web".into()]), shown(&a, session)));
        let before = shown(&a, session);
        let _ = a.reopen(20);
        assert_eq!(shown(&a, session), before, "after a restart, too");
        for wrong in [&[][..], &[" "], &[&"x".repeat(TAG_CHARS_MAX + 1)]] {
            assert!(matches!(tag(&mut a, 21, session, wrong, true), Reply::Refused(_)), "{wrong:?}");
        }
    }
}

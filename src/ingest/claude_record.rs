//! Of a record only the few fields that matter are looked at, and none of them has to be what it should be: a field of another
//! type is a field that is not there, never a lost record (FORMATS §2.2, §8.11).
//!
//! A transcript is mostly the output of tools; it is skipped over, not built. Texts are borrowed from the line where they hold
//! no escapes. A key that stands twice counts as it stands last.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// A line of a transcript.
#[derive(Debug, Default)]
pub(super) struct Record<'a> {
    pub(super) kind: Word<'a>,
    pub(super) subtype: Word<'a>,
    pub(super) session: Word<'a>,
    pub(super) uuid: Word<'a>,
    pub(super) cwd: Word<'a>,
    pub(super) branch: Word<'a>,
    pub(super) time: Word<'a>,
    pub(super) agent_id: Word<'a>,
    pub(super) request: Word<'a>,
    /// `customTitle`, `aiTitle`, `agentName` or `summary`, whichever its kind has.
    pub(super) name: Word<'a>,
    pub(super) leaf: Word<'a>,
    pub(super) is_side: bool,
    /// Written by the tool in a person's name: `isMeta`, `isCompactSummary`, `isVisibleInTranscriptOnly`, a notification.
    pub(super) is_made: bool,
    pub(super) is_api_error: bool,
    pub(super) message: Message<'a>,
    /// Whether the tool's answer is about tasks of a list.
    pub(super) is_of_task: bool,
}

/// What a person, the model or a tool said.
#[derive(Debug, Default)]
pub(super) struct Message<'a> {
    pub(super) id: Word<'a>,
    pub(super) model: Word<'a>,
    pub(super) stop: Word<'a>,
    pub(super) usage: Usage,
    pub(super) content: Content<'a>,
}

/// Tokens of one message.
#[derive(Debug, Default)]
pub(super) struct Usage {
    pub(super) tokens_in: u64,
    pub(super) tokens_out: u64,
}

/// What a message holds.
#[derive(Debug, Default)]
pub(super) struct Content<'a> {
    /// The first text, one that does not begin with a tag before one that does.
    pub(super) text: Word<'a>,
    pub(super) has_image: bool,
    /// Tools that are called: id and name.
    pub(super) calls: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// Calls that are answered: id, and whether with an error.
    pub(super) answers: Vec<(Cow<'a, str>, bool)>,
}

/// A text, when it is one.
pub(super) type Word<'a> = Option<Cow<'a, str>>;

/// Reads one record; `None` when the line is not one whole object.
pub(super) fn read(line: &[u8]) -> Option<Record<'_>> {
    if !line.starts_with(b"{") {
        return None;
    }
    let mut record = Record::default();
    let mut json = serde_json::Deserializer::from_slice(line);
    Into(&mut record).deserialize(&mut json).and_then(|()| json.end()).ok()?;
    Some(record)
}

/// What takes of a JSON value what it can use. All else is passed over.
trait Take<'de> {
    fn text(&mut self, _: Cow<'de, str>) {}
    fn flag(&mut self, _: bool) {}
    fn number(&mut self, _: u64) {}
    fn field<A: MapAccess<'de>>(&mut self, _: &str, map: &mut A) -> Result<(), A::Error> {
        pass(map)
    }
    /// Takes one element of a list; whether there was one.
    fn element<A: SeqAccess<'de>>(&mut self, seq: &mut A) -> Result<bool, A::Error> {
        Ok(seq.next_element::<IgnoredAny>()?.is_some())
    }
}

impl<'de> Take<'de> for Word<'de> {
    fn text(&mut self, text: Cow<'de, str>) {
        *self = Some(text);
    }
}

impl Take<'_> for bool {
    fn flag(&mut self, flag: bool) {
        *self |= flag;
    }
}

/// Several numbers add up.
impl Take<'_> for u64 {
    fn number(&mut self, number: u64) {
        *self = self.saturating_add(number);
    }
}

impl<'de> Take<'de> for Record<'de> {
    fn field<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "type" => take(map, &mut self.kind),
            "subtype" => take(map, &mut self.subtype),
            "sessionId" => take(map, &mut self.session),
            "uuid" => take(map, &mut self.uuid),
            "cwd" => take(map, &mut self.cwd),
            "gitBranch" => take(map, &mut self.branch),
            "timestamp" => take(map, &mut self.time),
            "agentId" => take(map, &mut self.agent_id),
            "requestId" => take(map, &mut self.request),
            "customTitle" | "aiTitle" | "agentName" | "summary" => take(map, &mut self.name),
            "leafUuid" => take(map, &mut self.leaf),
            "isSidechain" => take(map, &mut self.is_side),
            "isMeta" | "isCompactSummary" | "isVisibleInTranscriptOnly" => take(map, &mut self.is_made),
            "origin" => take(map, &mut Origin(&mut self.is_made)),
            "isApiErrorMessage" => take(map, &mut self.is_api_error),
            "message" => take(map, &mut self.message),
            "toolUseResult" => take(map, &mut Answer(&mut self.is_of_task)),
            _ => pass(map),
        }
    }
}

struct Origin<'a>(&'a mut bool);

impl<'de> Take<'de> for Origin<'_> {
    fn field<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        let mut kind = Word::default();
        take(map, &mut kind)?;
        *self.0 |= key == "kind" && kind.is_some_and(|kind| kind == "task-notification");
        Ok(())
    }
}

struct Answer<'a>(&'a mut bool);

impl<'de> Take<'de> for Answer<'_> {
    fn field<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        *self.0 |= matches!(key, "task" | "taskId");
        pass(map)
    }
}

impl<'de> Take<'de> for Message<'de> {
    fn field<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "id" => take(map, &mut self.id),
            "model" => take(map, &mut self.model),
            "stop_reason" => take(map, &mut self.stop),
            "usage" => take(map, &mut self.usage),
            // Only what the model says has an id or a model, and its texts are of no use here.
            "content" if self.id.is_some() || self.model.is_some() => take(map, &mut Wordless(&mut self.content)),
            "content" => take(map, &mut self.content),
            _ => pass(map),
        }
    }
}

impl<'de> Take<'de> for Usage {
    fn field<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "input_tokens" | "cache_creation_input_tokens" | "cache_read_input_tokens" => take(map, &mut self.tokens_in),
            "output_tokens" => take(map, &mut self.tokens_out),
            _ => pass(map),
        }
    }
}

impl<'de> Take<'de> for Content<'de> {
    fn text(&mut self, text: Cow<'de, str>) {
        if self.text.as_ref().is_none_or(|before| before.starts_with('<')) {
            self.text = Some(text);
        }
    }

    fn element<A: SeqAccess<'de>>(&mut self, seq: &mut A) -> Result<bool, A::Error> {
        let mut block = Block { is_wanted: true, ..Block::default() };
        let more = seq.next_element_seed(Into(&mut block))?.is_some();
        if let Some(text) = self.add(block) {
            self.text(text);
        }
        Ok(more)
    }
}

impl<'de> Content<'de> {
    /// Adds what a block says; gives back its text.
    fn add(&mut self, block: Block<'de>) -> Word<'de> {
        match block.kind.as_deref()? {
            "tool_use" => self.calls.push((block.id.unwrap_or_default(), block.name?)),
            "tool_result" => self.answers.push((block.call.unwrap_or_default(), block.is_error)),
            "image" | "document" => self.has_image = true,
            "text" => return block.text,
            _ => {}
        }
        None
    }
}

/// The same without texts.
struct Wordless<'a, 'de>(&'a mut Content<'de>);

impl<'de> Take<'de> for Wordless<'_, 'de> {
    fn element<A: SeqAccess<'de>>(&mut self, seq: &mut A) -> Result<bool, A::Error> {
        let mut block = Block::default();
        let more = seq.next_element_seed(Into(&mut block))?.is_some();
        self.0.add(block);
        Ok(more)
    }
}

#[derive(Default)]
struct Block<'a> {
    kind: Word<'a>,
    id: Word<'a>,
    name: Word<'a>,
    call: Word<'a>,
    text: Word<'a>,
    is_error: bool,
    is_wanted: bool,
}

impl<'de> Take<'de> for Block<'de> {
    fn field<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "type" => take(map, &mut self.kind),
            "id" => take(map, &mut self.id),
            "name" => take(map, &mut self.name),
            "tool_use_id" => take(map, &mut self.call),
            "text" if self.is_wanted => take(map, &mut self.text),
            "is_error" => take(map, &mut self.is_error),
            _ => pass(map),
        }
    }
}

fn take<'de, A: MapAccess<'de>>(map: &mut A, into: &mut impl Take<'de>) -> Result<(), A::Error> {
    map.next_value_seed(Into(into))
}

fn pass<'de, A: MapAccess<'de>>(map: &mut A) -> Result<(), A::Error> {
    map.next_value::<IgnoredAny>().map(drop)
}

/// Gives a value, whatever it is, to what takes of it.
struct Into<'a, T>(&'a mut T);

impl<'de, T: Take<'de>> DeserializeSeed<'de> for Into<'_, T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de, T: Take<'de>> Visitor<'de> for Into<'_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<(), E> {
        self.0.text(Cow::Borrowed(text));
        Ok(())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.0.text(Cow::Owned(text.to_owned()));
        Ok(())
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<(), E> {
        self.0.flag(flag);
        Ok(())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<(), E> {
        self.0.number(number);
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while self.0.element(&mut seq)? {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut key = Word::default();
        while map.next_key_seed(Into(&mut key))?.is_some() {
            self.0.field(key.as_deref().unwrap_or_default(), &mut map)?;
        }
        Ok(())
    }
}

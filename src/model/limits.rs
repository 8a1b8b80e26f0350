//! Every maximum of the house, named, with its unit and its reason (I9).

use super::time::Millis;

/// Bytes of one text from outside; longer ones are cut. A todo of 16 KiB is a mistake, a task line of it unreadable.
pub const TEXT_BYTES_MAX: usize = 16 * 1024;
/// Characters of a tag: it stands in a list among others.
pub const TAG_CHARS_MAX: usize = 64;
/// Bytes of one fact's JSON; a longer one is no fact.
pub const FACT_BYTES_MAX: usize = 64 * 1024;
/// Bytes of the JSON of one report, todo or record that a program gives: what becomes of it must be a fact, with our own names and
/// its metadata as a text (which at most doubles).
pub const REPORT_BYTES_MAX: usize = FACT_BYTES_MAX - 2 * METADATA_BYTES_MAX;
/// The largest revision, round, life or shard number; a larger one is no fact (DESIGN §4: a peer must not exhaust a counter).
pub const COUNT_MAX: u64 = 1 << 40;
/// A revision of a beat that no device reaches by counting its own (a thousand a second for 17 years): somebody else wrote it.
pub const PLANTED_REV: u64 = 1 << 39;
/// How far another device's memory of our lives may be ahead of what we opened with: openings since a backup was made. More is
/// a lie that would use up the counter.
pub const LIVES_AHEAD_MAX: u64 = 1 << 20;
/// Bytes of a todo file that are read; Claude's largest seen has 8 436 (FORMATS 1.2).
pub const TODO_FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Bytes of a transcript's head that are read to learn its working directory.
pub const HEAD_BYTES_MAX: u64 = 256 * 1024;
/// Bytes of one piece of a file of lines: a step that parses one stays far below a tenth of a second.
pub const PIECE_BYTES: u64 = 1024 * 1024;
/// Bytes of one line; a longer one is passed over and counted. The longest seen has 1.4 MB (FORMATS §2.5).
pub const LINE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Bytes at either end of what was read of a file of lines that are looked at again before it is read on: they must still be
/// there (RELIABILITY C: what fluent-bit and Filebeat arrived at).
pub const WINDOW_BYTES: u64 = 4096;
/// Items of one list that are taken; the largest seen has 30.
pub const ITEMS_MAX: usize = 10_000;
/// Files of one source that are listed; people have thousands (RELIABILITY G).
pub const FILES_MAX: usize = 200_000;
/// Bytes of one frame on the wire, its head included.
pub const FRAME_BYTES_MAX: usize = 256 * 1024;
/// Bytes of one message that spans several frames.
pub const MESSAGE_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Bytes of an unproven peer's first message beyond the log we hold ourselves.
pub const MEMBERS_BYTES_MAX: usize = 64 * 1024;
/// Parents that one membership entry names. Honest ones name the one or two newest entries.
pub const PARENTS_MAX: usize = 64;
/// Bytes of one membership entry: its parents, two keys and a signature.
pub const ENTRY_BYTES_MAX: usize = 3 * 1024;
/// Ancestors of one membership entry; one with more is inert. They are looked through for each entry, and this is what an entry
/// may cost. A fleet of five devices has a dozen in all.
pub const ANCESTORS_MAX: usize = 1_024;
/// Bytes of all that a membership entry of ours follows from: whom it lets in shows it, with the entry and a removal, in the
/// first message, of which a stranger takes no more than `MEMBERS_BYTES_MAX`.
pub const LINEAGE_BYTES_MAX: usize = 48 * 1024;
/// Unknown membership entries that are taken of one message, each a signature to check (0.1 ms); the rest comes with the
/// fleet's document.
pub const ENTRIES_HEARD_MAX: usize = 4_096;
/// Bytes of membership entries in a welcome, and in what is kept of them beside the fleet's secrets.
pub const ENTRIES_BYTES_MAX: usize = 1024 * 1024;
/// Bytes told to one link that it has not yet taken; beyond, documents are marked dirty instead of queued.
pub const UNSENT_BYTES_MAX: usize = 1024 * 1024;
/// Bytes a compressed foreign chunk may unfold to.
pub const INFLATED_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// Operations of one foreign change.
pub const CHANGE_OPS_MAX: u64 = 10_000;
/// Operations of one own change; larger steps are split between items.
pub const OWN_CHANGE_OPS_MAX: usize = 2_000;
/// Dependencies of one foreign change.
pub const CHANGE_DEPS_MAX: usize = 256;
/// Heads above which our next change merges them in steps.
pub const HEADS_MAX: usize = 200;
/// Where operation counters must stay below (DESIGN §7: 0.12.0 panics at `u32::MAX`).
pub const OP_COUNTER_MAX: u64 = 1 << 31;
/// Changes of one device, in all documents, that wait for a dependency.
pub const ORPHANS_MAX: usize = 10_000;
/// Bytes of those.
pub const ORPHAN_BYTES_MAX: usize = 16 * 1024 * 1024;
/// What each document counts for in which something waits: a made-up one costs memory before it holds anything.
pub const ORPHAN_DOCUMENT_BYTES: usize = 64 * 1024;
/// Bytes of changes of all devices that wait; beyond, what came from the device with the most is let go.
pub const ORPHANS_BYTES_MAX: usize = 4 * ORPHAN_BYTES_MAX;
/// Saved bytes of a document from which its writers go on in the next shard.
pub const SHARD_BYTES_MAX: usize = 512 * 1024;
/// Changes of a heartbeat document after which the next begins.
pub const HEARTBEAT_CHANGES_MAX: u64 = 2_000;
/// Inputs that wait for the loop; the pillars wait when it is full.
pub const INBOX_MAX: usize = 1_024;
/// Inputs that one turn takes along before it is kept.
pub const TURN_INPUTS_MAX: usize = 256;
/// Bytes that one turn keeps before it ends.
pub const TURN_BYTES_MAX: usize = 1024 * 1024;
/// Documents a fleet may have; more are refused by name.
pub const DOCUMENTS_MAX: usize = 100_000;
/// Agents in one presence frame.
pub const PRESENCE_AGENTS_MAX: usize = 500;
/// Bytes of a beat's metadata.
pub const METADATA_BYTES_MAX: usize = 8 * 1024;
/// Connections of one peer at a time.
pub const PEER_CONNECTIONS_MAX: u32 = 4;

/// How often presence is told.
pub const PRESENCE_EVERY_MS: Millis = 15_000;
/// Presence of a device older than this: it cannot be reached.
pub const REACHABLE_MS: Millis = 45_000;
/// The least silence that makes an agent stale, while its device can be reached.
pub const STALE_MS: Millis = 5 * 60 * 1000;
/// How much over its interval a beat may be before its agent is late.
pub const LATE_GRACE_MS: Millis = 60_000;
/// Working, beating, and nothing achieved for so long: stuck?
pub const STUCK_MS: Millis = 30 * 60 * 1000;
/// A beat is written at least this often while its agent goes on.
pub const BEAT_FACT_EVERY_MS: Millis = 5 * 60 * 1000;
/// How often everything is listed again, whatever the watcher said.
pub const RESCAN_EVERY_MS: Millis = 15 * 60 * 1000;
/// How much longer the boot clock ran than the steady one when the machine must have slept.
pub const SLEPT_MS: Millis = 5_000;
/// An unproven peer has so long to prove itself.
pub const PROVE_WITHIN_MS: Millis = 5_000;
/// A peer whose entries fail to prove is not spoken to for so long.
pub const BLOCKED_MS: Millis = 10 * 60 * 1000;
/// How often a link is pinged.
pub const PING_EVERY_MS: Millis = 15_000;
/// What was written is asked after so soon: did it arrive?
pub const CONFIRM_MS: Millis = 1_000;
/// A link whose ping is unanswered for so long is doubted: another one is tried beside it.
pub const DOUBT_MS: Millis = 3_000;
/// A link to which more than this was said since it was last heard may just be slow; it is not doubted.
pub const DOUBT_BYTES_MAX: u64 = 64 * 1024;
/// A link that has been silent for so long is dead.
pub const SILENT_MS: Millis = 40_000;
/// Addresses of a device of which it is remembered why a dial failed; a device has a handful.
pub const DIALS_MAX: usize = 8;
/// Bytes of a device's name.
pub const NAME_BYTES_MAX: usize = 256;
/// The first wait before a peer is dialled again; doubled up to `REDIAL_MAX_MS`.
pub const REDIAL_MIN_MS: Millis = 1_000;
/// The longest wait before a peer is dialled again.
pub const REDIAL_MAX_MS: Millis = 60_000;
/// The longest wait before a peer is dialled again that was lost a moment ago and did not say that it goes.
pub const REDIAL_LOST_MS: Millis = 2_000;
/// For how long a peer counts as lost a moment ago.
pub const LOST_MS: Millis = 10 * 60 * 1000;
/// A skew of clocks that is shown.
pub const SKEW_SHOWN_MS: i64 = 2_000;
/// Bytes of one frame of what is poured on a link whose pace is limited: presence waits for no more than that.
pub const PACED_FRAME_BYTES: usize = 16 * 1024;
/// A message about documents of more bytes than that is poured, and goes behind what is small.
pub const SMALL_BYTES_MAX: usize = 16 * 1024;
/// Bytes of presence told to one link since the other last answered; beyond, only the newest is owed.
pub const PRESENCE_UNHEARD_MAX: u64 = 256 * 1024;
/// The least pace that can be set, bytes a second: a frame takes four seconds at it.
pub const BANDWIDTH_MIN: u64 = 4_000;

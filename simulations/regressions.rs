//! Every plan that ever failed, by the name of what was wrong. Each must end in agreement.

use super::plan::Plan;
use super::run::run;

fn ends_well(case: &str) {
    if let Err(failure) = run(&Plan::read(case), super::is_loud()) {
        failure.last.iter().for_each(|line| eprintln!("{line}"));
        panic!("{}", failure.broken);
    }
}

/// A change whose dependency nobody has kept two level devices asking and answering for ever.
#[test]
fn what_nobody_has_is_not_asked_for_without_end() {
    ends_well(include_str!("cases/needed-by-nobody.txt"));
}

/// Two machines with one key raised each other's life and took the stream from each other, fifty times a second.
#[test]
fn clones_do_not_take_turns_for_ever() {
    ends_well(include_str!("cases/clones-take-turns.txt"));
}

/// A peer that had blocked us was dialled again at once, each time.
#[test]
fn who_hangs_up_at_once_is_dialled_ever_more_rarely() {
    ends_well(include_str!("cases/redial-of-who-blocks.txt"));
}

/// Who was removed and had not heard it let in the very device that knew, which said *paired* and was alone.
#[test]
fn nobody_is_let_in_by_who_was_removed() {
    ends_well(include_str!("cases/invited-by-who-was-removed.txt"));
}

/// A beat that one device heard and the other no longer takes stood in the export of one of them.
#[test]
fn an_export_holds_no_presence() {
    ends_well(include_str!("cases/a-beat-on-the-way-of-who-is-removed.txt"));
}

/// A member let a device in while another, that had not heard of it, removed that member: the new device is no member, and is told so.
#[test]
fn who_was_let_in_by_one_removed_meanwhile_is_no_member() {
    ends_well(include_str!("cases/let-in-by-one-removed-meanwhile.txt"));
}

/// A clock that was ahead made all that a session's file said afterwards old news.
#[test]
fn what_a_wrong_clock_said_makes_nothing_old() {
    ends_well(include_str!("cases/a-clock-that-was-ahead.txt"));
    ends_well(include_str!("cases/cut-after-the-clock-was-set-back.txt"));
}

/// The last word of a daemon went over a later one that a peer had given back: who was there still showed that, who opened
/// the document anew did not.
#[test]
fn a_last_word_is_never_written_over_a_later_one() {
    ends_well(include_str!("cases/last-words-over-later-ones.txt"));
}

/// What a peer gave back of a lost store outdid what the file had said since.
#[test]
fn an_older_beat_that_comes_back_is_outdone() {
    ends_well(include_str!("cases/a-lost-store-and-an-older-beat.txt"));
}

/// The oracle counted a change that follows one which a crash had lost.
#[test]
fn a_change_behind_a_hole_says_nothing() {
    ends_well(include_str!("cases/a-change-behind-a-hole.txt"));
}

/// Two files of one session, a year apart: each rescan let the older end it and the newer revive it.
#[test]
fn two_files_of_one_session_agree_on_its_end() {
    ends_well(include_str!("cases/two-files-of-one-session-a-year-apart.txt"));
}

/// The simulator itself forgot, in a copy of a disk, which documents had a hole.
#[test]
fn a_copy_of_a_disk_has_its_holes() {
    ends_well(include_str!("cases/a-copy-of-a-disk-with-a-hole.txt"));
}

/// A member said where a session of ours works, then we began to exclude, and its word passed for ours after the start.
#[test]
fn a_members_word_from_before_the_exclusion_lets_nothing_go() {
    ends_well(include_str!("cases/placed-by-a-member-before-it-was-excluded.txt"));
}

/// The same, and meanwhile we read on: what we wrote then took over the member's word, and sealed it.
#[test]
fn a_members_word_is_nothing_that_we_build_upon() {
    ends_well(include_str!("cases/a-members-word-that-we-read-on-top-of.txt"));
}

/// A case that no test runs guards nothing.
#[test]
fn every_case_is_run() {
    let here = concat!(env!("CARGO_MANIFEST_DIR"), "/simulations");
    let tests = std::fs::read_to_string(format!("{here}/regressions.rs")).expect("this file");
    for case in std::fs::read_dir(format!("{here}/cases")).expect("the cases") {
        let name = case.expect("a case").file_name().into_string().expect("a plain name");
        assert!(tests.contains(&format!("cases/{name}\"")), "no test in regressions.rs runs {name}");
    }
}

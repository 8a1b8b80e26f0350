//! Judgements over plain facts: pure; each file opens with the sentence that stays true.

pub mod members;

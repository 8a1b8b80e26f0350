//! Judgements over plain facts: pure; each file opens with the sentence that stays true.

pub mod agents;
pub mod members;
pub mod projects;
pub mod sessions;
pub mod todos;

//! The documents and the conversations.

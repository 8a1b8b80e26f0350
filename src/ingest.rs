//! Bytes of the tools' files become nouns: pure, one file for each format.

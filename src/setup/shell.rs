//! One command line as a shell reads it: how ours is written, and how it is known again. Nothing here is ever run.

use std::path::Path;

/// The name of our program, wherever it lies.
const PROGRAM: &str = "hubless";

/// The command that a tool runs: `HUBLESS_HOME=DIR /path/hubless hook TOOL`, the first word only for a home of its own.
pub(super) fn command(program: &str, home: Option<&str>, tool: &str) -> String {
    let home = home.map(|home| format!("HUBLESS_HOME={} ", quoted(home))).unwrap_or_default();
    format!("{home}{} hook {tool}", quoted(program))
}

/// Whether a command is ours for that tool, from whatever place it was put in.
pub(super) fn is_ours(command: &str, tool: &str) -> bool {
    let Some(words) = words(command) else { return false };
    let is_setting =
        |word: &&String| word.split_once('=').is_some_and(|(name, _)| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'));
    let words: Vec<&str> = words.iter().skip_while(is_setting).map(String::as_str).collect();
    match words.as_slice() {
        [program, "hook", of] => *of == tool && is_program(program),
        _ => false,
    }
}

/// As [`is_ours`], of a command whose arguments stand beside it.
pub(super) fn is_ours_with(command: &str, args: &[&str], tool: &str) -> bool {
    is_program(command) && args == ["hook", tool]
}

/// Ours by its name, also as `hubless-0.1` or `hubless_old`.
pub(super) fn is_program(path: &str) -> bool {
    Path::new(path).file_name().is_some_and(|name| name.to_string_lossy().starts_with(PROGRAM))
}

/// A word that every shell reads as it stands.
fn quoted(word: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_@%+=:,./-".contains(&byte);
    if !word.is_empty() && word.bytes().all(is_plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

/// The words of a simple command; `None` when it is more than that (`;`, `|`, `$x`, …) or its quotes are open.
fn words(command: &str) -> Option<Vec<String>> {
    let mut out = Vec::new();
    let mut word: Option<String> = None;
    let mut letters = command.chars();
    while let Some(letter) = letters.next() {
        match letter {
            ' ' | '\t' => out.extend(word.take()),
            '\'' => loop {
                match letters.next()? {
                    '\'' => {
                        word.get_or_insert_default();
                        break;
                    }
                    inner => word.get_or_insert_default().push(inner),
                }
            },
            '"' => loop {
                match letters.next()? {
                    '"' => {
                        word.get_or_insert_default();
                        break;
                    }
                    '\\' => word.get_or_insert_default().push(letters.next()?),
                    '$' | '`' => return None,
                    inner => word.get_or_insert_default().push(inner),
                }
            },
            '\\' => word.get_or_insert_default().push(letters.next()?),
            ';' | '|' | '&' | '<' | '>' | '(' | ')' | '$' | '`' | '#' | '*' | '?' | '\n' => return None,
            plain => word.get_or_insert_default().push(plain),
        }
    }
    out.extend(word);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickcheck::quickcheck;

    quickcheck! {
        fn what_is_quoted_is_read_back(words_in: Vec<String>) -> bool {
            let said: Vec<String> = words_in.iter().map(|word| quoted(word)).collect();
            words(&said.join(" ")) == Some(words_in)
        }

        fn our_own_command_is_known_again(dir: String, home: Option<String>) -> bool {
            ["hubless", "hubless-0.1", "hubless (deleted)"].into_iter().all(|name| {
                let said = command(&format!("/{dir}/{name}"), home.as_deref(), "claude");
                is_ours(&said, "claude") && !is_ours(&said, "codex")
            })
        }
    }

    #[test]
    fn a_shell_reads_it_alike() {
        for (program, home) in [("/a b/it's/hubless", None), ("/x/hubless", Some("/h\"o $(me)")), ("/ü/hubless", Some(""))] {
            let said = command(program, home, "claude");
            let script = format!("set -- {}; printf '%s\\n' \"$@\"", said.strip_prefix("HUBLESS_HOME=").unwrap_or(&said));
            let out = std::process::Command::new("sh").args(["-c", &script]).output().expect("a shell");
            let expected: Vec<&str> = home.into_iter().chain([program, "hook", "claude"]).collect();
            assert_eq!(String::from_utf8_lossy(&out.stdout).lines().collect::<Vec<_>>(), expected, "{said}");
        }
    }

    #[test]
    fn others_are_not_ours() {
        for foreign in [
            "hubless status",
            "/x/hubless hook codex",
            "/x/hubless hook claude extra",
            "/x/nothubless hook claude",
            "echo /x/hubless hook claude",
            "/x/hubless hook claude; rm x",
            "/x/hubless hook claude | tee log",
            "/x/hubless hook $TOOL",
            "'/x/hubless hook claude",
            "",
        ] {
            assert!(!is_ours(foreign, "claude"), "{foreign}");
        }
        for ours in [
            "hubless hook claude",
            "HUBLESS_HOME=/h A=b '/x y/hubless' hook claude",
            "\"/x/hubless\" hook claude",
            " /x/hubless  hook claude ",
        ] {
            assert!(is_ours(ours, "claude"), "{ours}");
        }
        assert!(is_ours_with("/x/hubless", &["hook", "claude"], "claude") && !is_ours_with("/x/hubless", &["status"], "claude"));
    }
}

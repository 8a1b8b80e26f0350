//! Which columns of a table stand on a narrow terminal. Folding every cell into a strip of letters shows nothing; so columns
//! give way, the least important first, until the others have room. The first one, which names the row, always stands.

/// What gives way, in this order; what is not named here stays.
const GIVES_WAY: [&str; 27] = [
    "clock",
    "last error",
    "in / out",
    "id",
    "address",
    "round",
    "computer",
    "malformed",
    "listed",
    "read",
    "tool",
    "todos",
    "prio",
    "for",
    "last contact",
    "they miss",
    "we miss",
    "devices",
    "at work",
    "blocked",
    "beat",
    "changed",
    "active",
    "owner",
    "project",
    "device",
    "files",
];
/// Letters that a column of texts is content with; more is folded.
const ENOUGH: usize = 12;
/// Between two columns.
const GAP: usize = 2;

/// The columns that stand, by their places.
pub(crate) fn kept(header: &[&str], rows: &[&[String]], width: usize) -> Vec<usize> {
    let wide = |n: usize| {
        let cells = rows.iter().filter_map(|row| row.get(n)).map(|cell| cell.chars().count());
        cells.chain([header[n].chars().count()]).max().unwrap_or(0).min(ENOUGH) + GAP
    };
    let mut kept: Vec<usize> = (0..header.len()).collect();
    let first = header.iter().position(|name| !name.is_empty());
    for name in GIVES_WAY {
        if kept.iter().map(|n| wide(*n)).sum::<usize>() <= width + GAP {
            break;
        }
        kept.retain(|n| header[*n] != name || Some(*n) == first);
    }
    kept
}

/// Parts of a sentence on as many lines as they need.
pub(crate) fn folded(parts: &[String], between: &str, width: usize) -> String {
    let mut out = String::new();
    let mut room = width;
    for (n, part) in parts.iter().enumerate() {
        let long = visible(part) + between.chars().count();
        if n > 0 {
            let fits = long <= room;
            out.push_str(if fits { between } else { "\n" });
            room = if fits { room } else { width };
        }
        room = room.saturating_sub(long);
        out.push_str(part);
    }
    out
}

/// Letters that are seen: colours are not.
fn visible(text: &str) -> usize {
    let mut coloured = false;
    let seen = |c: &char| {
        let is_code = coloured || *c == '\x1b';
        coloured = is_code && *c != 'm';
        !is_code
    };
    text.chars().filter(seen).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_a_narrow_terminal_the_important_columns_stay() {
        let header = ["", "agent", "device", "state", "task", "for", "beat"];
        let row = ["◐", "leo", "mac-mini", "needs input", "AGT-324: run the migration?", "3m", "11m ago, every 60s"].map(str::to_owned);
        let names = |width| kept(&header, &[&row], width).into_iter().map(|n| header[n]).collect::<Vec<_>>();
        assert_eq!(names(120), header);
        assert_eq!(names(40), ["", "agent", "state", "task"]);
        assert_eq!(names(1), ["", "agent", "state", "task"], "what is left is folded");
        let devices = kept(&["device", "id", "state"], &[&["mac".to_owned(), "7Q2M-KX4D".to_owned(), "reachable".to_owned()]], 20);
        assert_eq!(devices, [0, 2], "the first column names the row");
    }

    #[test]
    fn a_sentence_breaks_between_its_parts() {
        let parts = ["one", "\x1b[31mtwo\x1b[0m", "three"].map(str::to_owned);
        assert_eq!(folded(&parts, " · ", 80), "one · \x1b[31mtwo\x1b[0m · three");
        assert_eq!(folded(&parts, " · ", 13), "one · \x1b[31mtwo\x1b[0m\nthree");
        assert_eq!(folded(&parts, " · ", 2), "one\n\x1b[31mtwo\x1b[0m\nthree");
    }
}

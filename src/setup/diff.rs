//! What changes between two texts, line by line, as people know it from `diff -u`.

/// Lines around a change that are shown.
const AROUND: usize = 2;
/// Lines of a changed middle that are compared one by one; of longer ones all old lines go and all new ones come.
const COMPARED_MAX: usize = 2_000;

/// One line and what becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line<'t> {
    Same(&'t str),
    Old(&'t str),
    New(&'t str),
}

/// The changes as lines: ` ` stays, `-` goes, `+` comes, `@@ -old +new @@` before each place (line numbers from 1). Empty: none.
pub(super) fn lines(before: &str, after: &str) -> Vec<String> {
    let script = script(before, after);
    let mut out = Vec::new();
    let (mut old, mut new, mut shown_to) = (1, 1, 0);
    for (at, line) in script.iter().enumerate() {
        let near = script[at.saturating_sub(AROUND)..(at + AROUND + 1).min(script.len())].iter();
        if near.into_iter().any(|line| !matches!(line, Line::Same(_))) {
            if shown_to < at || at == 0 {
                out.push(format!("@@ -{old} +{new} @@"));
            }
            shown_to = at + 1;
            out.push(match line {
                Line::Same(text) => format!(" {text}"),
                Line::Old(text) => format!("-{text}"),
                Line::New(text) => format!("+{text}"),
            });
        }
        old += usize::from(!matches!(line, Line::New(_)));
        new += usize::from(!matches!(line, Line::Old(_)));
    }
    out
}

/// Every line of both, in order.
fn script<'t>(before: &'t str, after: &'t str) -> Vec<Line<'t>> {
    let old: Vec<&str> = before.split_inclusive('\n').collect();
    let new: Vec<&str> = after.split_inclusive('\n').collect();
    let front = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let back = old[front..].iter().rev().zip(new[front..].iter().rev()).take_while(|(a, b)| a == b).count();
    let (changed_old, changed_new) = (&old[front..old.len() - back], &new[front..new.len() - back]);
    let bare = |line: &&'t str| line.trim_end_matches(['\n', '\r']);
    let mut out: Vec<Line<'t>> = old[..front].iter().map(|line| Line::Same(bare(line))).collect();
    if changed_old.len().max(changed_new.len()) > COMPARED_MAX {
        out.extend(changed_old.iter().map(|line| Line::Old(bare(line))));
        out.extend(changed_new.iter().map(|line| Line::New(bare(line))));
    } else {
        out.extend(middle(changed_old, changed_new));
    }
    out.extend(old[old.len() - back..].iter().map(|line| Line::Same(bare(line))));
    out
}

/// The longest common lines stay.
fn middle<'t>(old: &[&'t str], new: &[&'t str]) -> Vec<Line<'t>> {
    let mut common = vec![vec![0_u16; new.len() + 1]; old.len() + 1];
    for a in (0..old.len()).rev() {
        for b in (0..new.len()).rev() {
            common[a][b] = if old[a] == new[b] { common[a + 1][b + 1] + 1 } else { common[a + 1][b].max(common[a][b + 1]) };
        }
    }
    let bare = |line: &'t str| line.trim_end_matches(['\n', '\r']);
    let (mut a, mut b, mut out) = (0, 0, Vec::new());
    while a < old.len() || b < new.len() {
        if a < old.len() && b < new.len() && old[a] == new[b] {
            out.push(Line::Same(bare(old[a])));
            (a, b) = (a + 1, b + 1);
        } else if b == new.len() || (a < old.len() && common[a + 1][b] >= common[a][b + 1]) {
            out.push(Line::Old(bare(old[a])));
            a += 1;
        } else {
            out.push(Line::New(bare(new[b])));
            b += 1;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickcheck::quickcheck;

    fn side<'t>(script: &[Line<'t>], is_old: bool) -> Vec<&'t str> {
        let line = |line: &Line<'t>| match (*line, is_old) {
            (Line::Same(text), _) | (Line::Old(text), true) | (Line::New(text), false) => Some(text),
            (Line::Old(_), false) | (Line::New(_), true) => None,
        };
        script.iter().filter_map(line).collect()
    }

    quickcheck! {
        fn both_texts_can_be_read_off(old: Vec<u8>, new: Vec<u8>) -> bool {
            let text = |bytes: &[u8]| bytes.iter().map(|byte| format!("{}\n", byte % 4)).collect::<String>();
            let (old, new) = (text(&old), text(&new));
            let script = script(&old, &new);
            side(&script, true) == old.lines().collect::<Vec<_>>() && side(&script, false) == new.lines().collect::<Vec<_>>()
                && lines(&old, &new).is_empty() == (old == new)
        }
    }

    #[test]
    fn only_what_changes_and_its_neighbours_are_shown() {
        let old = "a\nb\nc\nd\ne\nf\ng\nh\n";
        let new = "a\nb\nc\nD\ne\nf\ng\nh\ni\n";
        assert_eq!(lines(old, new), ["@@ -2 +2 @@", " b", " c", "-d", "+D", " e", " f", " g", " h", "+i"]);
        assert_eq!(lines("", "x\n"), ["@@ -1 +1 @@", "+x"]);
        let far = format!("x\n{}y\n", "=\n".repeat(9));
        assert_eq!(lines(&far, &far.replace('x', "1").replace('y', "2")).iter().filter(|line| line.starts_with("@@")).count(), 2);
    }
}

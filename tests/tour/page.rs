//! A page as it is carried out: its blocks, their steps, and the same page written anew with other outputs.

/// How a block is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Run, and compared.
    Shown,
    /// Run to set the stage.
    Hidden,
    /// Begun, compared, and left running.
    Open,
    /// The rest of what was left running.
    Close,
}

/// One command and what it prints.
#[derive(Debug)]
pub(crate) struct Step {
    /// The line of the page.
    pub(crate) line: usize,
    pub(crate) device: String,
    /// The prompt as it stands there.
    prompt: String,
    pub(crate) command: String,
    pub(crate) expected: Vec<String>,
}

#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) kind: Kind,
    /// The lines of the page between its fences: from, to.
    span: (usize, usize),
    pub(crate) steps: Vec<Step>,
}

#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) blocks: Vec<Block>,
}

impl Page {
    #[track_caller]
    pub(crate) fn read(text: &str) -> Page {
        let lines: Vec<&str> = text.lines().collect();
        let (mut blocks, mut at) = (Vec::new(), 0);
        while at < lines.len() {
            let begun = match lines[at].trim_end() {
                "```console" => Some((Kind::Shown, "```")),
                "```console open" => Some((Kind::Open, "```")),
                "```console close" => Some((Kind::Close, "```")),
                "<!-- console" => Some((Kind::Hidden, "-->")),
                _ => None,
            };
            at += 1;
            let Some((kind, end)) = begun else { continue };
            let from = at;
            while at < lines.len() && lines[at].trim_end() != end {
                at += 1;
            }
            assert!(at < lines.len(), "line {from}: the block has no end");
            blocks.push(Block { kind, span: (from, at), steps: steps(&lines[from..at], from, kind) });
        }
        Page { blocks }
    }

    /// The page with what its steps say now.
    pub(crate) fn written(&self, text: &str) -> String {
        let lines: Vec<&str> = text.lines().collect();
        let (mut out, mut at) = (Vec::<String>::new(), 0);
        for block in self.blocks.iter().filter(|block| block.kind != Kind::Hidden) {
            out.extend(lines[at..block.span.0].iter().map(|line| (*line).to_owned()));
            for step in &block.steps {
                if block.kind != Kind::Close {
                    out.extend(format!("{}{}", step.prompt, step.command).lines().map(str::to_owned));
                }
                out.extend(step.expected.iter().cloned());
            }
            at = block.span.1;
        }
        out.extend(lines[at..].iter().map(|line| (*line).to_owned()));
        out.join("\n") + "\n"
    }
}

/// `laptop$ command`: the device, the prompt, the command.
fn prompt(line: &str) -> Option<(&str, &str, &str)> {
    let (device, command) = line.split_once("$ ")?;
    let is_device = device.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    is_device.then(|| (device, &line[..device.len() + 2], command))
}

fn steps(lines: &[&str], from: usize, kind: Kind) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    if kind == Kind::Close {
        let expected = lines.iter().map(|line| (*line).to_owned()).collect();
        return vec![Step { line: from, device: String::new(), prompt: String::new(), command: String::new(), expected }];
    }
    for (n, line) in lines.iter().enumerate() {
        match (prompt(line), steps.last_mut()) {
            // A command that goes on behind a backslash.
            (None, Some(step)) if step.expected.is_empty() && step.command.ends_with('\\') => {
                step.command.push('\n');
                step.command.push_str(line);
            }
            (None, Some(step)) => step.expected.push((*line).to_owned()),
            (Some((device, prompt, command)), _) => steps.push(Step {
                line: from + n + 1,
                device: device.to_owned(),
                prompt: prompt.to_owned(),
                command: command.to_owned(),
                expected: Vec::new(),
            }),
            (None, None) => panic!("line {}: a block begins with a command", from + n + 1),
        }
    }
    // An empty line before the next prompt is there for the eye.
    steps
}

#[test]
fn a_page_is_read_and_written_as_it_was() {
    let text = "# x\n\n<!-- console\na$ true\n-->\n```console\na$ one \\\n  two\nout\n\nb$ three\n```\ntext\n```console open\na$ wait\nfirst\n```\n```console close\nlast\n```\n```\n$ not run\n```\n";
    let page = Page::read(text);
    assert_eq!(page.written(text), text);
    let kinds: Vec<Kind> = page.blocks.iter().map(|block| block.kind).collect();
    assert_eq!(kinds, [Kind::Hidden, Kind::Shown, Kind::Open, Kind::Close]);
    let step = &page.blocks[1].steps[0];
    assert_eq!((step.command.as_str(), step.expected.as_slice(), step.line), ("one \\\n  two", &["out".to_owned(), String::new()][..], 7));
}

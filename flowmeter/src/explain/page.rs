//! Lines of text for a terminal or a ticket: headings, rows, items, commands.

/// Columns that prose is wrapped at; what is to be copied is never broken.
const WIDTH: usize = 96;
/// Of the labels of rows.
const LABEL: usize = 16;

const BOLD: &str = "1";
const FAINT: &str = "2";
const RED: &str = "1;31";
const YELLOW: &str = "1;33";

/// What the lines are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Plain,
    /// For a terminal.
    Coloured,
    Markdown,
}

#[derive(Debug)]
pub(super) struct Page {
    text: String,
    form: Form,
}

impl Page {
    pub(super) const fn new(form: Form) -> Self {
        Self {
            text: String::new(),
            form,
        }
    }

    pub(super) fn finish(self) -> String {
        self.text
    }

    fn styled(&mut self, style: &str, text: &str) {
        if self.form == Form::Coloured {
            self.text += &format!("\x1b[{style}m{text}\x1b[0m");
        } else {
            self.text += text;
        }
    }

    /// Between two reports.
    pub(super) fn rule(&mut self) {
        self.text += &match self.form {
            Form::Markdown => "\n---\n\n".to_owned(),
            Form::Plain | Form::Coloured => format!("\n{}\n\n", "-".repeat(WIDTH)),
        };
    }

    /// Begins a report.
    pub(super) fn title(&mut self, severe: bool, name: &str, title: &str) {
        if self.form == Form::Markdown {
            self.text += &format!("# {}: {}\n\n", escaped(name), escaped(title));
            return;
        }
        self.styled(if severe { RED } else { YELLOW }, name);
        self.text += ": ";
        self.styled(BOLD, title);
        self.text.push('\n');
    }

    pub(super) fn heading(&mut self, heading: &str) {
        if self.form == Form::Markdown {
            self.text += &format!("\n## {}\n\n", escaped(heading));
            return;
        }
        self.text.push('\n');
        self.styled(BOLD, heading);
        self.text.push('\n');
    }

    /// A label and what it stands for.
    pub(super) fn row(&mut self, label: &str, value: &str) {
        if self.form == Form::Markdown {
            let label = if label.is_empty() {
                String::new()
            } else {
                format!("**{}**: ", escaped(label))
            };
            self.text += &format!("- {label}{}\n", escaped(value));
            return;
        }
        self.text += &format!("  {label:<LABEL$}  ");
        self.wrapped(value, 2 + LABEL + 2);
    }

    pub(super) fn prose(&mut self, text: &str) {
        if self.form == Form::Markdown {
            self.text += &format!("{}\n", escaped(text));
            return;
        }
        self.text += "  ";
        self.wrapped(text, 2);
    }

    pub(super) fn item(&mut self, text: &str) {
        if self.form == Form::Markdown {
            self.text += &format!("- {}\n", escaped(text));
            return;
        }
        self.text += "  - ";
        self.wrapped(text, 4);
    }

    /// Something said before, explained.
    pub(super) fn note(&mut self, text: &str) {
        if self.form == Form::Markdown {
            self.text += &format!("\n  {}\n", escaped(text));
            return;
        }
        for line in wrap(text, WIDTH - 4) {
            self.text += "    ";
            self.styled(FAINT, &line);
            self.text.push('\n');
        }
    }

    /// To be copied.
    pub(super) fn command(&mut self, command: &str) {
        // Code in an item is what stands four columns behind its text, after an empty line.
        if self.form == Form::Markdown && !self.text.ends_with("\n\n") {
            self.text.push('\n');
        }
        for line in command.lines() {
            self.text += "      ";
            self.text += line;
            self.text.push('\n');
        }
        if self.form == Form::Markdown {
            self.text.push('\n');
        }
    }

    pub(super) fn blank(&mut self) {
        self.text.push('\n');
    }

    /// The rest of a line, with further ones below it.
    fn wrapped(&mut self, text: &str, indent: usize) {
        let lines = wrap(text, WIDTH - indent);
        self.text += &lines.join(&format!("\n{:indent$}", ""));
        self.text.push('\n');
    }
}

/// What would be a tag, a link, an entity or a column in Markdown is text: it comes out of an event.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        if "\\<>[]*|&#".contains(letter) {
            escaped.push('\\');
        }
        escaped.push(letter);
    }
    escaped
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split(' ') {
        let length = word.chars().count();
        if used > 0 && used + 1 + length > width {
            lines.push(String::new());
            used = 0;
        }
        if let Some(line) = lines.last_mut() {
            if used > 0 {
                line.push(' ');
                used += 1;
            }
            line.push_str(word);
            used += length;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prose_is_wrapped_between_words_and_commands_never() {
        let long = "word ".repeat(40);
        let mut page = Page::new(Form::Plain);
        page.row("label", long.trim());
        page.command(&long);
        let text = page.finish();
        let lines: Vec<_> = text.lines().collect();
        assert!(
            lines
                .iter()
                .rev()
                .skip(1)
                .all(|line| line.chars().count() <= WIDTH),
            "{text}"
        );
        assert!(lines.iter().all(|line| {
            line.split_whitespace()
                .all(|word| ["label", "word"].contains(&word))
        }));
        assert_eq!(text.split_whitespace().filter(|word| *word == "word").count(), 80);
        assert_eq!(lines.last().unwrap().split_whitespace().count(), 40);
        assert!(lines[1].starts_with(&" ".repeat(20)) && !lines[1].starts_with(&" ".repeat(21)));
    }

    #[test]
    fn nothing_out_of_an_event_is_markup_in_markdown() {
        let mut page = Page::new(Form::Markdown);
        page.title(true, "tag", "Title");
        page.prose("<script>alert(1)</script> [x](http://192.0.2.1) **b** &lt; a|b \\");
        page.item("what");
        page.command("cat <file> | wc");
        assert_eq!(
            page.finish(),
            "# tag: Title\n\n\\<script\\>alert(1)\\</script\\> \\[x\\](http://192.0.2.1) \\*\\*b\\*\\* \\&lt; \
             a\\|b \\\\\n- what\n\n      cat <file> | wc\n\n"
        );
    }
}

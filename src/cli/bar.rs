//! Drawing a horizontal bar from block characters, in steps of an eighth of a column.

const EIGHTHS: [char; 8] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];

/// `value` out of `full` as a bar at most `width` columns wide.
pub(super) fn bar(value: u64, full: u64, width: usize) -> String {
    if full == 0 {
        return String::new();
    }
    let eighths = value.min(full) as usize * width * 8 / full as usize;
    // a value above 0 is always visible
    let eighths = if value > 0 && width > 0 { eighths.max(1) } else { eighths };
    let mut bar = "█".repeat(eighths / 8);
    if !eighths.is_multiple_of(8) {
        bar.push(EIGHTHS[eighths % 8]);
    }
    bar
}

#[cfg(test)]
mod tests {
    use super::bar;

    #[test]
    fn bars() {
        assert_eq!(bar(0, 24, 10), "");
        assert_eq!(bar(12, 24, 10), "█████");
        assert_eq!(bar(24, 24, 3), "███");
        assert_eq!(bar(99, 24, 3), "███");
        assert_eq!(bar(3, 24, 4), "▌");
        assert_eq!(bar(1, 1000, 4), "▏");
        assert_eq!((bar(5, 0, 4), bar(5, 10, 0)), (String::new(), String::new()));
    }

    #[test]
    fn a_bar_never_shrinks_with_its_value_and_never_exceeds_the_width() {
        for width in 0..40 {
            let lengths: Vec<_> = (0..=100).map(|value| bar(value, 100, width).chars().count()).collect();
            assert!(lengths.is_sorted() && lengths[100] == width, "{width}");
        }
    }
}

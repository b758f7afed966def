//! "Did you mean".

/// The one of `names` that `typed` most likely stands for.
pub(crate) fn nearest<'n>(typed: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let similarity = |name: &str| strsim::jaro_winkler(&typed.to_lowercase(), &name.to_lowercase());
    let scored = names.into_iter().map(|name| (similarity(name), name));
    // Below this the words have little in common and a suggestion only distracts.
    scored.filter(|(score, _)| *score > 0.75).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_slip_finds_its_word_and_nonsense_none() {
        let names = ["node-1", "node-2", "seed"];
        assert_eq!(nearest("nod-2", names), Some("node-2"));
        assert_eq!(nearest("Seed", names), Some("seed"));
        assert_eq!(nearest("xyzzy", names), None);
    }
}

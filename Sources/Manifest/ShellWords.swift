/// Splits a command line as a shell does, by white space, with quotes and backslashes, but without any shell: no
/// variables, globs, pipes or redirections (POSIX.1, Shell Command Language, 2.2 Quoting).
package func shellWords(_ text: String) throws(ShellWordsError) -> [String] {
    var words: [String] = []
    var word: String?
    var quote: Unicode.Scalar?
    var scalars = text.unicodeScalars.makeIterator()
    while let scalar = scalars.next() {
        switch (scalar, quote) {
        case ("'", "'"), ("\"", "\""):
            quote = nil
        case (_, "'"):
            word?.unicodeScalars.append(scalar)
        case ("\\", "\""):
            guard let next = scalars.next() else { throw .unfinishedQuote }
            // Within double quotes a backslash is one unless it has something to protect.
            if !["\"", "\\", "$", "`", "\n"].contains(next) { word?.unicodeScalars.append(scalar) }
            if next != "\n" { word?.unicodeScalars.append(next) }
        case (_, "\""):
            word?.unicodeScalars.append(scalar)
        case ("\\", _):
            guard let next = scalars.next() else { throw .unfinishedEscape }
            if next != "\n" {
                word = word ?? ""
                word?.unicodeScalars.append(next)
            }
        case ("'", _), ("\"", _):
            quote = scalar
            word = word ?? ""
        case (" ", _), ("\t", _), ("\n", _), ("\r", _):
            if let finished = word { words.append(finished) }
            word = nil
        default:
            word = word ?? ""
            word?.unicodeScalars.append(scalar)
        }
    }
    guard quote == nil else { throw .unfinishedQuote }
    if let word { words.append(word) }
    return words
}

/// Why a command line cannot be split.
package enum ShellWordsError: Error {
    /// A quote is not closed.
    case unfinishedQuote
    /// The text ends with a backslash.
    case unfinishedEscape
}

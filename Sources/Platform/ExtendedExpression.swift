import Glibc

/// A POSIX extended regular expression, as `grep -E` takes it, for lines of bytes; by regcomp(3) and regexec(3) of this
/// program's locale, which is "C": every byte is a character.
package final class ExtendedExpression {
    private var compiled = regex_t()

    /// Compiles an expression. Throws what regerror(3) says of it.
    package init(_ text: String, ignoresCase: Bool = false) throws(Invalid) {
        // The C function would stop at the zero, and look for something else than was asked for.
        guard !text.utf8.contains(0) else { throw Invalid(reason: "it contains a zero byte") }
        let flags = REG_EXTENDED | REG_NOSUB | (ignoresCase ? REG_ICASE : 0)
        let code = regcomp(&compiled, text, flags)
        guard code == 0 else {
            var message = [CChar](repeating: 0, count: 256)
            regerror(code, &compiled, &message, message.count)
            throw Invalid(
                reason: String(decoding: message.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self))
        }
    }

    deinit { regfree(&compiled) }

    /// Whether a part of these bytes is what the expression describes.
    package func matches(_ line: [UInt8]) -> Bool {
        // An array of nothing may have no address, which the C function would read from.
        (line + [0]).withUnsafeBytes { bytes in
            guard let start = bytes.bindMemory(to: CChar.self).baseAddress, let end = regoff_t(exactly: line.count)
            else {
                return false
            }
            var range = [regmatch_t(rm_so: 0, rm_eo: end)]
            return regexec(&compiled, start, 1, &range, REG_STARTEND) == 0
        }
    }

    /// Why a text is no regular expression.
    package struct Invalid: Error, Hashable {
        /// regerror(3)'s words: `Unmatched ( or \(`.
        package var reason: String
    }
}

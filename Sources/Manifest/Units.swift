// Durations and sizes: their text in a manifest, and back.

/// The longest duration a manifest may hold.
let maximumDuration = Duration.seconds(24 * 3600)

/// Reads `500ms`, `10s`, `5m` or `1h`: a whole number and one unit. Nil for anything else and beyond 24 hours.
package func parseDuration(_ text: String) -> Duration? {
    let digits = text.utf8.prefix(while: isDigit)
    let milliseconds: UInt64
    switch Substring(text.utf8.dropFirst(digits.count)) {
    case "ms": milliseconds = 1
    case "s": milliseconds = 1000
    case "m": milliseconds = 60_000
    case "h": milliseconds = 3_600_000
    default: return nil
    }
    guard let number = UInt64(Substring(digits)) else { return nil }
    let (value, overflow) = number.multipliedReportingOverflow(by: milliseconds)
    guard !overflow, value <= 24 * 3_600_000 else { return nil }
    return .milliseconds(Int64(value))
}

/// A duration as a manifest writes it: `500ms`, `90s`, `5m`, `1h`; rounded down to whole milliseconds.
package func durationText(_ duration: Duration) -> String {
    let (seconds, attoseconds) = duration.components
    let rest = attoseconds / 1_000_000_000_000_000
    if rest != 0 {
        let (whole, overflow) = seconds.multipliedReportingOverflow(by: 1000)
        return overflow ? "\(seconds)s" : "\(whole + rest)ms"
    }
    if seconds == 0 { return "0s" }
    if seconds % 3600 == 0 { return "\(seconds / 3600)h" }
    if seconds % 60 == 0 { return "\(seconds / 60)m" }
    return "\(seconds)s"
}

/// Reads a number of bytes: `4096`, `512K`, `10M`, `1G`, `1T` (powers of 1024). Nil for anything else, and for more
/// than 64 bits hold.
package func parseSize(_ text: String) -> UInt64? {
    let digits = text.utf8.prefix(while: isDigit)
    let factor: UInt64
    switch Substring(text.utf8.dropFirst(digits.count)) {
    case "": factor = 1
    case "K": factor = 1 << 10
    case "M": factor = 1 << 20
    case "G": factor = 1 << 30
    case "T": factor = 1 << 40
    default: return nil
    }
    guard let number = UInt64(Substring(digits)) else { return nil }
    let (value, overflow) = number.multipliedReportingOverflow(by: factor)
    return overflow ? nil : value
}

/// A number of bytes as a manifest writes it, exactly: `512K`, `10M`, `1000`.
package func sizeText(_ bytes: UInt64) -> String {
    for (shift, unit) in [(40, "T"), (30, "G"), (20, "M"), (10, "K")]
    where bytes != 0 && bytes % (1 << UInt64(shift)) == 0 {
        return "\(bytes >> UInt64(shift))\(unit)"
    }
    return "\(bytes)"
}

/// What somebody may have meant who wrote a unit in the wrong way: `512m`, `512MB`, `512 MiB` mean `512M`.
func sizeMeant(by text: String) -> String? {
    let digits = text.utf8.prefix(while: isDigit)
    let rest = Substring(text.utf8.dropFirst(digits.count)).uppercased().filter { $0 != " " }
    guard !digits.isEmpty, let unit = rest.first, "KMGT".contains(unit), ["", "B", "IB"].contains(rest.dropFirst())
    else {
        return nil
    }
    return "\(Substring(digits))\(unit)"
}

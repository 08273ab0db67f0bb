/// Numbers as people read them.
package enum HumanText {
    /// Bytes in units of 1024, as the manifest writes them: `812`, `1.5K`, `12M`.
    package static func bytes(_ count: UInt64) -> String {
        scaled(count, by: 1024, units: ["", "K", "M", "G", "T", "P", "E"])
    }

    /// A count in units of 1000: `812`, `1.5k`, `12M`.
    package static func count(_ count: UInt64) -> String {
        scaled(count, by: 1000, units: ["", "k", "M", "G", "T", "P", "E"])
    }

    /// Two units at most: `3s`, `4m05s`, `2h07m`, `9d3h`.
    package static func uptime(_ seconds: Double) -> String {
        guard seconds.isFinite, seconds >= 0, seconds < 1e12 else { return "?" }
        let total = Int64(seconds)
        switch total {
        case ..<60: return "\(total)s"
        case ..<3600: return "\(total / 60)m\(twoDigits(total % 60))s"
        case ..<86400: return "\(total / 3600)h\(twoDigits(total % 3600 / 60))m"
        default: return "\(total / 86400)d\(total % 86400 / 3600)h"
        }
    }

    /// How long something took: `0.12 s`, `1.4 s`, `75 s`.
    package static func elapsed(_ nanoseconds: Int64) -> String {
        let milliseconds = max(0, nanoseconds) / 1_000_000
        switch milliseconds {
        case ..<1000: return "0.\(twoDigits(milliseconds / 10)) s"
        case ..<60_000: return "\(milliseconds / 1000).\(milliseconds % 1000 / 100) s"
        default: return "\(milliseconds / 1000) s"
        }
    }

    /// A short time with two digits: `85µs`, `1.2ms`, `3.4s`, `12s`.
    package static func seconds(_ seconds: Double) -> String {
        guard seconds.isFinite, seconds >= 0, seconds < 1e9 else { return "?" }
        let microseconds = Int64((seconds * 1e6).rounded())
        for (unit, size) in [("s", Int64(1_000_000)), ("ms", 1000)] where microseconds >= size {
            let tenths = (microseconds + size / 20) / (size / 10)
            return tenths < 100 ? "\(tenths / 10).\(tenths % 10)\(unit)" : "\((tenths + 5) / 10)\(unit)"
        }
        return "\(microseconds)µs"
    }

    /// `0.4%`, `98%`.
    package static func percent(_ value: Double) -> String {
        guard value.isFinite, value >= 0, value < 1e9 else { return "?" }
        let tenths = Int64((value * 10).rounded())
        return tenths < 100 ? "\(tenths / 10).\(tenths % 10)%" : "\((tenths + 5) / 10)%"
    }

    private static func twoDigits(_ number: Int64) -> String { number < 10 ? "0\(number)" : String(number) }

    /// One decimal below ten of a unit, none above.
    private static func scaled(_ count: UInt64, by base: UInt64, units: [String]) -> String {
        var unit = 0
        var divisor: UInt64 = 1
        while unit + 1 < units.count, count / divisor >= base {
            divisor *= base
            unit += 1
        }
        guard unit > 0 else { return String(count) }
        let whole = count / divisor
        let tenth = count % divisor / (divisor / 10)
        return whole < 10 ? "\(whole).\(min(tenth, 9))\(units[unit])" : "\(whole)\(units[unit])"
    }
}

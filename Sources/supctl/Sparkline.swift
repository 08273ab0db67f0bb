import Platform

/// A series as a line of bars.
struct Sparkline {
    /// Whether the terminal shows more than ASCII.
    var isUnicode: Bool

    /// A bar for each value, the largest of them, but at least `least`, to the top; a blank for what is not known.
    func text(_ values: [Double?], least: Double) -> String {
        let steps = Array(isUnicode ? "▁▂▃▄▅▆▇█" : "_.:-=+*#")
        let top = max(least, values.compactMap { $0 }.max() ?? 0)
        return String(
            values.map { value -> Character in
                guard let value, value.isFinite, top > 0, top.isFinite else { return " " }
                let step = Int((value / top * Double(steps.count - 1)).rounded())
                return steps[max(0, min(step, steps.count - 1))]
            })
    }

    /// Whether the locale's name, as the C library looks for it, says UTF-8.
    static let terminalIsUnicode: Bool = {
        let names = ["LC_ALL", "LC_CTYPE", "LANG"].compactMap(environmentVariable)
        let name = names.first { !$0.isEmpty }?.lowercased() ?? ""
        return name.hasSuffix("utf-8") || name.hasSuffix("utf8")
    }()
}

/// The names that people give to a verb: a service (`api`), an instance (`api/2`), a glob of either (`web-*`, `api/?`),
/// or `all`.
package enum Selector {
    /// Names that match nothing.
    package struct NoSuchName: Error, Sendable, Hashable, CustomStringConvertible {
        /// Those names, in the order given.
        package var names: [String]
        /// For each of them what was probably meant, if anything.
        package var suggestions: [String?]

        package var description: String {
            zip(names, suggestions).map { name, suggestion in
                let isGlob = name.contains("*") || name.contains("?")
                let what =
                    isGlob ? "nothing matches" : name.contains("/") ? "there is no instance" : "there is no service"
                return "\(what) \"\(name)\"" + (suggestion.map { "; did you mean \"\($0)\"?" } ?? "")
            }.joined(separator: "\n")
        }
    }

    /// What selectors stand for.
    package struct Choice: Sendable, Hashable {
        /// The instances, each once, in the order of the manifest.
        package var instances: [String]
        /// The services without an instance, `replicas: 0`.
        package var servicesWithout: [String] = []
        /// Those of them that a selector named which stands for no instance.
        package var namedWithout: [String] = []

        /// A sentence about the latter; nil if there are none.
        package var withoutInstancesText: String? {
            guard !namedWithout.isEmpty else { return nil }
            let verb = namedWithout.count == 1 ? "has" : "have"
            return "\(namedWithout.joined(separator: ", ")) \(verb) no instances (replicas: 0)"
        }

        /// The same with why that is, and what brings some up. `former`: how many the manifest says of those that were scaled.
        package func withoutInstancesText(former: [String: Int]) -> String? {
            guard let text = withoutInstancesText else { return nil }
            let shown = namedWithout.prefix(5)
            let scaled = shown.compactMap { name in former[name].map { (name, $0) } }
            var why = ""
            if let (name, count) = scaled.first {
                let others = shown.count > 1 ? "\(name) was " : ""
                why = ": \(others)scaled to 0 by \"supctl scale\", the manifest says \(count)"
            }
            let wishes = shown.map { "\($0)=\(max(1, former[$0] ?? 1))" }.joined(separator: " ")
            return "\(text)\(why); \"supctl scale \(wishes)\" starts some"
        }
    }

    /// What the selectors name, among instance ids like `api/2`, in their order, and the services that have none.
    /// Throws if any selector matches nothing, naming all of those. No selectors name nothing.
    package static func choose(
        _ selectors: [String], among instances: [String], servicesWithout: [String]
    ) throws(NoSuchName) -> Choice {
        var chosen: Set<String> = []
        var chosenWithout: Set<String> = []
        var namedWithout: Set<String> = []
        var missing: [String] = []
        for selector in selectors {
            let matched = instances.filter { matches(selector, instance: $0) }
            let without = servicesWithout.filter { selector == "all" || glob(selector, matches: $0) }
            if matched.isEmpty, without.isEmpty, selector != "all" { missing.append(selector) }
            chosen.formUnion(matched)
            chosenWithout.formUnion(without)
            if matched.isEmpty { namedWithout.formUnion(without) }
        }
        guard missing.isEmpty else {
            let known = instances + servicesWithout
            throw NoSuchName(names: missing, suggestions: missing.map { suggestion(for: $0, among: known) })
        }
        return Choice(
            instances: instances.filter(chosen.contains),
            servicesWithout: servicesWithout.filter(chosenWithout.contains),
            namedWithout: servicesWithout.filter(namedWithout.contains))
    }

    /// Whether one selector names an instance.
    package static func matches(_ selector: String, instance: String) -> Bool {
        if selector == "all" { return true }
        if selector.contains("/") { return glob(selector, matches: instance) }
        return glob(selector, matches: serviceName(of: instance))
    }

    private static func suggestion(for name: String, among instances: [String]) -> String? {
        if name.contains("/") { return Suggestion.nearest(to: name, among: instances) }
        return Suggestion.nearest(to: name, among: instances.map(serviceName) + ["all"])
    }

    private static func serviceName(of instance: String) -> String {
        String(instance.prefix { $0 != "/" })
    }

    /// `*` is any run of characters but a slash, `?` any one; all else is itself. Takes time in proportion to the
    /// product of both lengths at worst, never more.
    private static func glob(_ pattern: String, matches text: String) -> Bool {
        let pattern = Array(pattern.utf8)
        let text = Array(text.utf8)
        let star = UInt8(ascii: "*")
        let slash = UInt8(ascii: "/")
        var position = 0
        var index = 0
        // Where to go on if what follows the last star does not fit: the star takes one character more.
        var retry: (position: Int, index: Int)?
        while index < text.count {
            if position < pattern.count, pattern[position] == star {
                retry = (position + 1, index)
                position += 1
            } else if position < pattern.count,
                pattern[position] == text[index] || (pattern[position] == UInt8(ascii: "?") && text[index] != slash)
            {
                position += 1
                index += 1
            } else if let last = retry, text[last.index] != slash {
                retry = (last.position, last.index + 1)
                position = last.position
                index = last.index + 1
            } else {
                return false
            }
        }
        return pattern[position...].allSatisfy { $0 == star }
    }
}

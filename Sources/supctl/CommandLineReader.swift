import ControlAPI

/// Understands `supctl [OPTION…] VERB [OPTION…] [OPERAND…]`. Options may stand anywhere; `--` ends them.
enum CommandLineReader {
    /// What was given.
    struct Line {
        var verb: Verb?
        /// All there are: before the verb, an option may be of any of them.
        var verbs: [Verb] = []
        /// By their long names; an option without value has an empty one.
        var options: [String: String] = [:]
        var operands: [String] = []
        var wantsHelp: Bool { options["--help"] != nil }
    }

    static func read(_ arguments: [String], verbs: [Verb]) throws(VerbFailure) -> Line {
        var line = Line(verbs: verbs)
        var rest = arguments[...]
        var optionsEnded = false
        while let argument = rest.popFirst() {
            if !optionsEnded, argument == "--" {
                optionsEnded = true
            } else if !optionsEnded, argument.hasPrefix("--") {
                try readLong(argument, &rest, &line)
            } else if !optionsEnded, argument.hasPrefix("-"), argument != "-" {
                try readShort(argument, &rest, &line)
            } else if line.verb == nil {
                line.verb = try verb(argument, verbs)
                try checkOptions(line)
            } else {
                line.operands.append(argument)
            }
        }
        return line
    }

    private static func verb(_ name: String, _ verbs: [Verb]) throws(VerbFailure) -> Verb {
        if let verb = verbs.first(where: { $0.name == name }) { return verb }
        throw unknown("verb \"\(name)\"", name, verbs.filter { !$0.isHidden }.map(\.name), help: "supctl help")
    }

    /// Options that came before the verb must be its own.
    private static func checkOptions(_ line: Line) throws(VerbFailure) {
        let names = known(line).map(\.name)
        guard let stray = line.options.keys.sorted().first(where: { !names.contains($0) }) else { return }
        throw unknown("option \(stray)", stray, names, help: help(line))
    }

    /// `--name`, `--name=value` or `--name value`.
    private static func readLong(
        _ argument: String, _ rest: inout ArraySlice<String>, _ line: inout Line
    ) throws(VerbFailure) {
        let name = String(argument.prefix { $0 != "=" })
        let options = known(line)
        guard let option = options.first(where: { $0.name == name }) else {
            throw unknown("option \(name)", name, options.map(\.name), help: help(line))
        }
        if name.count < argument.count {
            guard option.value != nil else {
                throw VerbFailure(.usage, "\(name) takes no value; see \"\(help(line))\"")
            }
            try set(option, String(argument.dropFirst(name.count + 1)), &line)
        } else {
            try set(option, try value(of: option, called: name, &rest, line), &line)
        }
    }

    /// `-f`, `-n 5`, `-n5`, `-fn5`.
    private static func readShort(
        _ argument: String, _ rest: inout ArraySlice<String>, _ line: inout Line
    ) throws(VerbFailure) {
        var letters = argument.dropFirst()
        while let letter = letters.popFirst() {
            let name = "-\(letter)"
            guard let option = known(line).first(where: { $0.short == name }) else {
                throw VerbFailure(.usage, "unknown option \(name); see \"\(help(line))\"")
            }
            if option.value != nil, !letters.isEmpty {
                return try set(option, String(letters), &line)
            }
            try set(option, try value(of: option, called: name, &rest, line), &line)
        }
    }

    private static func value(
        of option: Verb.Option, called name: String, _ rest: inout ArraySlice<String>, _ line: Line
    ) throws(VerbFailure) -> String {
        guard let kind = option.value else { return "" }
        guard let value = rest.popFirst() else {
            throw VerbFailure(.usage, "\(name) needs a value (\(kind)); see \"\(help(line))\"")
        }
        return value
    }

    private static func set(_ option: Verb.Option, _ value: String, _ line: inout Line) throws(VerbFailure) {
        guard option.value == nil || line.options[option.name] == nil else {
            throw VerbFailure(.usage, "\(option.name) is given twice")
        }
        line.options[option.name] = value
    }

    private static func known(_ line: Line) -> [Verb.Option] {
        (line.verb?.options ?? line.verbs.flatMap(\.options)) + commonOptions
    }

    private static func help(_ line: Line) -> String { line.verb.map { "supctl help \($0.name)" } ?? "supctl help" }

    private static func unknown(_ what: String, _ name: String, _ names: [String], help: String) -> VerbFailure {
        let hint = Suggestion.nearest(to: name, among: names).map { "did you mean \($0)? " } ?? ""
        return VerbFailure(.usage, "unknown \(what); \(hint)\(hint.isEmpty ? "see" : "See") \"\(help)\"")
    }
}

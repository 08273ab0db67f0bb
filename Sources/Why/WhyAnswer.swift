/// The answer to the question why something is as it is; `supctl why --json` prints it. Absent is null.
package struct WhyAnswer: Encodable, Equatable {
    /// `api/2`.
    package var name: String
    /// In the words of `supctl status`.
    package var state: String
    /// Whether it does what it is for, or is not wanted.
    package var isFine: Bool
    /// Since when it is in this state, RFC 3339 in UTC; nil: that is not known any more.
    package var since: String?
    /// Why, and what it waits for, in one sentence: `exited with code 3 after 2ms, probably its port is taken; next try in 3.2 s`.
    package var summary: String
    /// What it waits for, or why it is not up.
    package var waitsFor: String?
    /// Who or what has brought it into this state: a command, an apply, a rollout.
    package var occasion: String?
    /// What those that it waits for are doing themselves, and what else stands beside it.
    package var besides: [String]
    /// Its last ends, the newest first.
    package var exits: [Exit]
    /// Starts in the last hour that nobody asked for: after an end, not by a command or a request.
    package var restartsInLastHour: Int
    /// What may help, the likeliest first.
    package var help: [String]

    /// An end, or a start that came to nothing.
    package struct Exit: Encodable, Equatable {
        /// When, RFC 3339 in UTC.
        package var at: String
        /// In words.
        package var reason: String
        /// The code of exit(3); nil if it did not call it.
        package var code: Int32?
        /// The signal that ended it: `SIGKILL`; nil if none did.
        package var signal: String?
        /// How long the process had run, in seconds.
        package var ranSeconds: Double?
        /// What lies behind it.
        package var cause: String?
        /// Whether that is only probable.
        package var isGuess = true
        /// The last lines of its log before that.
        package var log: [String]

        /// All but the log as a sentence: `exited with code 3 after 2ms, probably its port is taken`.
        package var words: String {
            let ran = ranSeconds.map { $0 < 0.001 ? " at once" : " after \(HumanText.seconds($0))" } ?? ""
            // "killed by SIGXCPU after 1.2s: cpu limit of 1 s reached"
            let place = reason.hasPrefix("killed") ? reason.firstIndex { $0 == ":" || $0 == "," } : nil
            let parts = place.map { (reason[..<$0], reason[$0...]) } ?? (reason[...], "")
            return parts.0 + ran + parts.1 + (cause.map { isGuess ? ", probably \($0)" : "; \($0)" } ?? "")
        }
    }

    private enum CodingKeys: String, CodingKey {
        case name, state, isFine, since, summary, waitsFor, occasion, besides, exits, restartsInLastHour, help
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(name, forKey: .name)
        try container.encode(state, forKey: .state)
        try container.encode(isFine, forKey: .isFine)
        try container.encode(since, forKey: .since)
        try container.encode(summary, forKey: .summary)
        try container.encode(waitsFor, forKey: .waitsFor)
        try container.encode(occasion, forKey: .occasion)
        try container.encode(besides, forKey: .besides)
        try container.encode(exits, forKey: .exits)
        try container.encode(restartsInLastHour, forKey: .restartsInLastHour)
        try container.encode(help, forKey: .help)
    }
}

extension WhyAnswer.Exit {
    private enum CodingKeys: String, CodingKey {
        case at, reason, code, signal, ranSeconds, cause, isGuess, log
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(at, forKey: .at)
        try container.encode(reason, forKey: .reason)
        try container.encode(code, forKey: .code)
        try container.encode(signal, forKey: .signal)
        try container.encode(ranSeconds, forKey: .ranSeconds)
        try container.encode(cause, forKey: .cause)
        try container.encode(isGuess, forKey: .isGuess)
        try container.encode(log, forKey: .log)
    }
}

/// What `supctl why --json` prints.
package struct WhyReport: Encodable {
    /// What supd as a whole is in the midst of: an apply, a shutdown.
    package var supd: [String]
    /// An answer for each instance that was asked about.
    package var answers: [WhyAnswer]

    /// Creates a report.
    package init(supd: [String], answers: [WhyAnswer]) {
        self.supd = supd
        self.answers = answers
    }
}

/// A history as words, for the supervisor after this one: a header, and a piece for each instance. All times in it are of the
/// monotonic clock, so that it is of use as long as the machine runs.
///
/// A piece is its length, so many words, and their checksum. What is torn or makes no sense ends the reading; the pieces before it
/// count.
package struct UsageArchive: Sendable {
    /// What is known of the past.
    package var history: UsageHistory
    /// Until when all instances are looked at.
    package var wantedUntil: Int64

    /// Of more words none is written, nor read: 64 MB, some six thousand instances.
    package static let mostWords = 8 << 20

    /// "supdusg" and the version of this form.
    private static let magic: UInt64 = 0x0001_6775_7364_7573
    private static let longestPiece = 4096
    private static let longestName = 128

    /// Creates one.
    package init(_ history: UsageHistory, wantedUntil: Int64) {
        self.history = history
        self.wantedUntil = wantedUntil
    }

    // MARK: Writing

    /// Gives the pieces to `write`, one after the other.
    package func write<Failure: Error>(_ write: ([UInt64]) throws(Failure) -> Void) throws(Failure) {
        var left = Self.mostWords
        let header = [Self.magic, Self.word(history.haste), Self.word(wantedUntil), Self.word(history.latest ?? .min)]
        try write(Self.piece(header))
        left -= header.count + 2
        for name in Set(history.tracks.keys).union(history.looks.keys).sorted()
        where name.utf8.count <= Self.longestName {
            let words = entry(name)
            guard words.count + 2 <= left else { return }
            try write(Self.piece(words))
            left -= words.count + 2
        }
    }

    private func entry(_ name: String) -> [UInt64] {
        var words: [UInt64] = []
        words.reserveCapacity(2 * (UsageHistory.Span.hour.count + UsageHistory.Span.day.count) + 64)
        Self.put(name, to: &words)
        let look = history.looks[name]
        words += [look == nil ? 0 : 1, Self.word(look?.since ?? 0), Self.word(look?.last ?? 0)]
        guard let track = history.tracks[name] else {
            words.append(0)
            return words
        }
        words.append(1)
        for ring in [track.hour, track.day] {
            let recent = ring.recent
            words += [UInt64(recent.count), Self.word(ring.latest ?? 0)]
            for record in recent { words += record.words }
        }
        words += [track.underWay == nil ? 0 : 1, Self.word(track.underWay?.step ?? 0)]
        words += [(track.underWay?.cpu ?? 0).bitPattern, Self.word(Int64(track.underWay?.looks ?? 0))]
        words += UsageRecord(track.underWay?.highest ?? Usage()).words
        words += [track.last == nil ? 0 : 1, track.last?.process ?? 0]
        words += [(track.last?.cpuSeconds ?? 0).bitPattern, Self.word(track.last?.at ?? 0)]
        words += UsageRecord(track.now).words
        return words
    }

    private static func piece(_ words: [UInt64]) -> [UInt64] { [UInt64(words.count)] + words + [checksum(words[...])] }

    private static func word(_ value: Int64) -> UInt64 { UInt64(bitPattern: value) }

    private static func put(_ name: String, to words: inout [UInt64]) {
        let bytes = Array(name.utf8)
        words.append(UInt64(bytes.count))
        for start in stride(from: 0, to: bytes.count, by: 8) {
            words.append(bytes[start..<min(start + 8, bytes.count)].reversed().reduce(0) { $0 << 8 | UInt64($1) })
        }
    }

    private static func checksum(_ words: ArraySlice<UInt64>) -> UInt64 {
        words.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ $1) &* 0x0000_0100_0000_01b3 }
    }

    // MARK: Reading

    /// Reads one back at a time that is not before it was written; nil: it is none of this version, or of another haste.
    package init?(_ words: [UInt64], haste: Int64, at now: Int64) {
        var rest = words.prefix(Self.mostWords)
        var history = UsageHistory(haste: haste)
        guard var header = Self.takePiece(&rest), header.take() == Self.magic,
            header.take() == Self.word(history.haste), let wantedUntil = header.takeTime(),
            let latest = header.takeTime(), latest == .min || (0...max(0, now)).contains(latest)
        else { return nil }
        history.latest = latest == .min ? nil : latest
        while var piece = Self.takePiece(&rest), Self.read(&piece, into: &history, at: now) {}
        self.init(history, wantedUntil: wantedUntil)
    }

    private static func takePiece(_ rest: inout ArraySlice<UInt64>) -> ArraySlice<UInt64>? {
        guard let length = rest.take(), length <= UInt64(longestPiece), rest.count > Int(length) else { return nil }
        let piece = rest.prefix(Int(length))
        rest = rest.dropFirst(Int(length))
        return rest.take() == checksum(piece) ? piece : nil
    }

    /// One instance; false: what is there is none.
    private static func read(
        _ words: inout ArraySlice<UInt64>, into history: inout UsageHistory, at now: Int64
    ) -> Bool {
        guard let name = takeName(&words), let hasLook = words.take(), let since = words.takeTime(),
            let last = words.takeTime(), (0...max(0, now)).contains(last), (0...last).contains(since),
            let hasTrack = words.take()
        else { return false }
        if hasTrack == 1 {
            guard let track = takeTrack(&words, history, at: now) else { return false }
            history.tracks[name] = track
        }
        if hasLook == 1 { history.looks[name] = (since, last) }
        return words.isEmpty
    }

    private static func takeTrack(
        _ words: inout ArraySlice<UInt64>, _ history: UsageHistory, at now: Int64
    ) -> UsageHistory.Track? {
        var track = UsageHistory.Track()
        guard let hour = takeRing(&words, .hour, notAfter: history.step(of: .hour, at: now)),
            let day = takeRing(&words, .day, notAfter: history.step(of: .day, at: now)),
            let isUnderWay = words.take(), let step = words.takeTime(), let cpu = words.takeReal(),
            let looks = words.takeTime(), (0...1_000_000).contains(looks), let highest = words.takeRecord(),
            let hasLast = words.take(), let process = words.take(), let seconds = words.takeReal(),
            let at = words.takeTime(), at <= now, let current = words.takeRecord()
        else { return nil }
        (track.hour, track.day, track.now) = (hour, day, current.usage)
        if isUnderWay == 1 { track.underWay = (step, cpu, Int(looks), highest.usage) }
        if hasLast == 1 { track.last = (process, seconds, at) }
        return track
    }

    private static func takeRing(
        _ words: inout ArraySlice<UInt64>, _ span: UsageHistory.Span, notAfter most: Int64
    ) -> UsageRing? {
        guard let count = words.take(), count <= UInt64(span.count), let step = words.takeTime(), step <= most else {
            return nil
        }
        var records: [UsageRecord] = []
        for _ in 0..<Int(count) {
            guard let record = words.takeRecord() else { return nil }
            records.append(record)
        }
        return UsageRing(capacity: span.count, recent: records, upTo: step)
    }

    private static func takeName(_ words: inout ArraySlice<UInt64>) -> String? {
        guard let count = words.take(), (1...UInt64(longestName)).contains(count) else { return nil }
        var bytes: [UInt8] = []
        for _ in 0..<(Int(count) + 7) / 8 {
            guard let word = words.take() else { return nil }
            for shift in 0..<8 { bytes.append(UInt8(truncatingIfNeeded: word >> UInt64(shift * 8))) }
        }
        return String(validating: bytes.prefix(Int(count)), as: UTF8.self)
    }
}

extension ArraySlice<UInt64> {
    fileprivate mutating func take() -> UInt64? { popFirst() }

    fileprivate mutating func takeTime() -> Int64? { popFirst().map { Int64(bitPattern: $0) } }

    fileprivate mutating func takeReal() -> Double? {
        popFirst().map { Double(bitPattern: $0) }.flatMap { $0.isFinite ? $0 : nil }
    }

    fileprivate mutating func takeRecord() -> UsageRecord? {
        guard let first = popFirst(), let second = popFirst() else { return nil }
        return UsageRecord(first, second)
    }
}

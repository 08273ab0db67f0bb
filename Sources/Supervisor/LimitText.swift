import Platform

/// Words about resource limits.
enum LimitText {
    /// `4096`, `unlimited`.
    static func value(_ value: UInt64) -> String { value == LimitPair.unlimited ? "unlimited" : "\(value)" }

    /// `4096`, or `1024:4096` where soft and hard differ.
    static func pair(_ limit: LimitPair) -> String {
        limit.soft == limit.hard ? value(limit.hard) : "\(value(limit.soft)):\(value(limit.hard))"
    }

    /// Why a limit was refused, and what to do, as the end of a sentence; nil if the errno says it all.
    /// - Parameters:
    ///   - current: the limit in force, where it is known, and `whose` it is.
    ///   - most: what fs.nr_open allows.
    static func refusal(
        of name: String, to wanted: LimitPair, code: Int32, current: LimitPair?, whose: String,
        most: UInt64? = mostOpenFiles()
    ) -> String? {
        if code == ErrorCode.invalid, wanted.soft > wanted.hard { return "the soft limit is above the hard one" }
        guard code == ErrorCode.notPermitted else { return nil }
        if name == "nofile", let most, wanted.hard > most {
            return "fs.nr_open allows \(most) at most, even to root"
        }
        guard let current, wanted.hard > current.hard else { return nil }
        return
            "it is above \(whose) hard limit of \(value(current.hard)), which only root (CAP_SYS_RESOURCE) may exceed"
    }

    /// fs.nr_open: the most descriptors that any process may be allowed.
    static func mostOpenFiles() -> UInt64? {
        guard let text = try? Files.read("/proc/sys/fs/nr_open", limit: 64) else { return nil }
        return UInt64(String(decoding: text.prefix { $0 != 0x0a }, as: UTF8.self))
    }
}

import ControlAPI

/// How something came to run out, from what an instance has used in the last hour.
enum WhyUsage {
    /// A sentence about what has grown; nil: nothing has, or nobody has looked.
    static func growth(of resource: LikelyCause.Resource, _ usage: InstanceUsage?) -> String? {
        guard let hour = usage?.hour, hour.steps > 1 else { return nil }
        switch resource {
        case .memory: return memory(hour)
        case .descriptors:
            return hour.highest.descriptors.map {
                "it had up to \(HumanText.count($0)) open descriptors in the last hour"
            }
        case .threads:
            return hour.highest.threads.map { "it had up to \(HumanText.count($0)) threads in the last hour" }
        }
    }

    /// From the least before the peak to the peak, if that is half as much again, and more than a mebibyte.
    private static func memory(_ hour: UsageSpan) -> String? {
        guard let highest = hour.highest.memoryBytes else { return nil }
        let course = hour.memoryBytes
        let peak = course.lastIndex { $0 == highest } ?? course.endIndex
        guard let lowest = course[..<peak].compactMap({ $0 }).min(), highest > lowest,
            highest - lowest > 1 << 20, Double(highest) >= 1.5 * Double(lowest)
        else { return "its memory was up to \(HumanText.bytes(highest)) in the last hour" }
        return "its memory rose from \(HumanText.bytes(lowest)) to \(HumanText.bytes(highest)) in the last hour"
    }
}

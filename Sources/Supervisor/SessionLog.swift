import Platform

/// The pipe through which the balancer says a line for every session of a service. The keeper holds both ends: the lines
/// in it outlive the supervisor, and so does the end that the next balancer is given.
struct SessionLog {
    /// The reading end, for the log pump.
    var reading: Descriptor
    /// The writing end, for the balancer. Never blocks: a balancer that could wait for a disk would be none.
    var writing: Descriptor
    /// The keeper does not hold it yet.
    var isNew: Bool

    /// Takes the pipe that the keeper holds, or makes one.
    init(of service: String, held: [String: Descriptor]) throws(SystemError) {
        if let reading = held[Self.readingName(service)], let writing = held[Self.writingName(service)] {
            self.init(reading: reading, writing: writing, isNew: false)
        } else {
            let pipe = try makePipe(nonblockingRead: true)
            try PipeIO.setNonBlocking(pipe.write)
            self.init(reading: pipe.read, writing: pipe.write, isNew: true)
        }
    }

    private init(reading: Descriptor, writing: Descriptor, isNew: Bool) {
        self.reading = reading
        self.writing = writing
        self.isNew = isNew
    }

    /// The name under which the keeper holds the reading end.
    static func readingName(_ service: String) -> String { "session-log-reading \(service)" }
    /// The name under which the keeper holds the writing end.
    static func writingName(_ service: String) -> String { "session-log-writing \(service)" }
}

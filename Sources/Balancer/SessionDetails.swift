/// What is kept of a connection beside its slot, for those alone whose pool or front has a feature that needs it.
struct SessionDetails: BitwiseCopyable {
    /// Bytes from the client, and to it.
    var bytesIn: UInt64 = 0
    var bytesOut: UInt64 = 0
    /// When its PROXY header had come, on the coarse monotonic clock; 0: none is expected, -1: it has not come.
    var introduced: Int64 = 0
    /// When the last connect began, and was done, on the coarse monotonic clock; 0: never.
    var connectBegan: Int64 = 0
    var connectDone: Int64 = 0
    /// The counters of the endpoint that it belongs or has belonged to last; they are held, see `CounterBlock.held`.
    var instance: UnsafeMutablePointer<CounterBlock>?
    /// What the client has connected to, as a header of the PROXY protocol has said; none: what the kernel says.
    var destination = ClientAddress.none
    /// Connects that were begun.
    var connects: UInt32 = 0
    /// Whether a line is written in the end.
    var isLogged = false

    /// Bytes of a slot; a multiple of 16.
    static var slotSize: Int { (MemoryLayout<SessionDetails>.stride + 4 + 15) & ~15 }
}

extension LoopCore {
    /// The details of a connection; nil if it has none.
    @inline(__always)
    func details(_ connection: ConnectionReference) -> UnsafeMutablePointer<SessionDetails>? {
        let slot = connection.head.pointee.details
        guard slot > 0 else { return nil }
        return details.address(slot - 1).assumingMemoryBound(to: SessionDetails.self)
    }

    /// Gives a connection details.
    mutating func takeDetails(_ connection: ConnectionReference, isLogged: Bool) {
        // There is a slot for every connection.
        guard let slot = details.allocate() else { return }
        connection.head.pointee.details = slot + 1
        let memory = details.address(slot).assumingMemoryBound(to: SessionDetails.self)
        memory.initialize(to: SessionDetails())
        memory.pointee.isLogged = isLogged
    }

    /// The connection is assigned to an endpoint, whose connect begins.
    mutating func noteConnect(_ connection: ConnectionReference, _ counters: UnsafeMutablePointer<CounterBlock>) {
        guard let details = details(connection) else { return }
        details.pointee.connectBegan = now
        details.pointee.connects &+= 1
        counters.pointee.held.add()
        details.pointee.instance?.pointee.held.drop()
        details.pointee.instance = counters
    }

    /// The end of a connection with details: writes its line, if it wants one, and gives the details back.
    mutating func finishDetails(_ connection: ConnectionReference, _ end: EndState) {
        guard let details = details(connection) else { return }
        if details.pointee.isLogged { logSession(connection, details, end) }
        details.pointee.instance?.pointee.held.drop()
        self.details.free(connection.head.pointee.details - 1)
        connection.head.pointee.details = 0
    }
}

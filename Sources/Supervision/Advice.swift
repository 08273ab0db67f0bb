import Manifest

// What helps a process on whose port nobody listens.
//
// Most programs take a moment, some take half a minute, before they listen, and there is nothing wrong with them. So the advice is
// shown only once that has lasted for long, measured by what the manifest allows for the start, and whenever a start has failed
// for it.
extension Application {
    /// How long a process may take to listen before somebody is told what may be wrong: a quarter of `ready.timeout`, from five
    /// seconds to half a minute.
    static func patienceWithListening(_ service: Service) -> Int64 {
        min(max(service.readyTimeout.wholeNanoseconds / 4, 5_000_000_000), 30_000_000_000)
    }

    /// What to say beside the failure of a readiness probe; nil: nothing yet.
    func advice(of place: Int, _ process: Instance.Process, at now: Instant) -> String? {
        guard now.elapsed(since: process.beganAt) >= Self.patienceWithListening(service(of: place)) else { return nil }
        return instances[place].listeningAdvice(process)
    }
}

extension Instance {
    /// What may be wrong with a process on whose port nobody listens, for the end of a message; nil: somebody does, or nobody has
    /// looked.
    func listeningAdvice(_ process: Process) -> String? {
        guard nobodyListens == true else { return nil }
        return "; the program must listen on 127.0.0.1:\(process.port), the port it gets as PORT"
    }
}

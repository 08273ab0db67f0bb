import Manifest

/// The pause before the next start after a number of failures in a row: `initialDelay` × `factor` for each but the
/// first, at most `maxDelay`, varied by `jitter` (drawn between -1 and 1) times the settings' share. Total: whatever
/// the numbers, the answer is a duration from 10 ms, so that nothing is started in a loop, to twice `maxDelay`.
func backoff(afterFailures failures: Int, _ settings: RestartSettings, jitter: Double) -> Duration {
    let ceiling = Double(settings.maxDelay.wholeNanoseconds)
    let factor = settings.factor.isNaN ? 1 : max(1, settings.factor)
    let growth = power(factor, max(0, failures - 1))
    let share = settings.jitter.isNaN ? 0 : min(max(settings.jitter, 0), 1)
    let draw = jitter.isNaN ? 0 : min(max(jitter, -1), 1)
    // 0 × infinity has no value; a delay of zero stays zero however often it is multiplied.
    let initial = Double(settings.initialDelay.wholeNanoseconds)
    let delay = initial > 0 ? min(initial * growth, ceiling) : 0
    let varied = delay * (1 + share * draw)
    return max(.milliseconds(10), .nanoseconds(varied < 9e18 ? Int64(varied) : .max))
}

extension RestartSettings {
    /// How long a healthy run lasts at least, in nanoseconds: `resetAfter`, but not below 100 ms, because the restart
    /// after it is at once.
    var healthyRun: Int64 { max(100_000_000, resetAfter.wholeNanoseconds) }
}

/// `base` to a whole power by repeated squaring; infinity beyond the range.
private func power(_ base: Double, _ exponent: Int) -> Double {
    var result = 1.0
    var square = base
    var rest = exponent
    while rest > 0 {
        if rest & 1 == 1 { result *= square }
        square *= square
        rest >>= 1
    }
    return result
}

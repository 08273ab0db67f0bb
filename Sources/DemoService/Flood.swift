import Platform

/// Prints numbered lines of a given length, as fast as they are taken: `000000001 xxxx…`.
func flood(lines: Int, size: Int) {
    var batch: [UInt8] = []
    let filler = [UInt8](repeating: UInt8(ascii: "x"), count: size)
    for number in 1...max(lines, 1) where lines > 0 {
        let digits = String(number)
        let head = String(repeating: "0", count: max(0, 9 - digits.count)) + digits + " "
        batch += head.utf8.prefix(size)
        batch += filler.dropFirst(head.utf8.count)
        batch.append(UInt8(ascii: "\n"))
        if batch.count >= 1 << 16 || number == lines {
            printBytes(batch)
            batch.removeAll(keepingCapacity: true)
        }
    }
}

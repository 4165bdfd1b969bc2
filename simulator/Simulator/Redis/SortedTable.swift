/// A table in the order of its keys: what is iterated in a simulated world has an order.
package struct SortedTable<Key: Comparable & Sendable, Value: Sendable>: Sendable {
    package struct Element: Sendable {
        package let key: Key
        package var value: Value
    }

    package private(set) var elements: [Element] = []

    package init() {}

    package var count: Int { elements.count }
    package var isEmpty: Bool { elements.isEmpty }
    package var first: Element? { elements.first }

    /// Where a key is, or would be. O(log n).
    package func index(of key: Key) -> Int {
        var (low, high) = (0, elements.count)
        while low < high {
            let middle = (low + high) / 2
            if elements[middle].key < key { low = middle + 1 } else { high = middle }
        }
        return low
    }

    /// O(log n) to read, O(n) to add or to remove.
    package subscript(key: Key) -> Value? {
        get {
            let index = index(of: key)
            return index < elements.count && elements[index].key == key
                ? elements[index].value : nil
        }
        set {
            let index = index(of: key)
            let isThere = index < elements.count && elements[index].key == key
            switch (newValue, isThere) {
            case (let value?, true): elements[index].value = value
            case (let value?, false): elements.insert(Element(key: key, value: value), at: index)
            case (nil, true): elements.remove(at: index)
            case (nil, false): break
            }
        }
    }
}

extension SortedTable.Element: Equatable where Value: Equatable {}
extension SortedTable: Equatable where Value: Equatable {}

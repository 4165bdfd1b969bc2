import NIOPosix
import Hummingbird

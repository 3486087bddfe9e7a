package org.osier.android.ui

import com.google.zxing.BinaryBitmap
import com.google.zxing.DecodeHintType
import com.google.zxing.PlanarYUVLuminanceSource
import com.google.zxing.ReaderException
import com.google.zxing.common.HybridBinarizer
import com.google.zxing.qrcode.QRCodeReader

/** Reads QR codes in pictures of a camera. */
object Codes {
    private val hints = mapOf(DecodeHintType.ALSO_INVERTED to true)

    /** The text of a code in the brightness of a picture whose rows are `stride` octets apart; null without one. */
    fun read(luma: ByteArray, stride: Int, width: Int, height: Int): String? {
        // The last row may end with its last point.
        val rows = minOf(height, (luma.size + stride - width) / stride)
        val whole = if (luma.size >= stride * rows) luma else luma.copyOf(stride * rows)
        val source = PlanarYUVLuminanceSource(whole, stride, rows, 0, 0, width, rows, false)
        return listOf(source, source.invert()).firstNotNullOfOrNull { picture ->
            try {
                QRCodeReader().decode(BinaryBitmap(HybridBinarizer(picture)), hints).text
            } catch (none: ReaderException) {
                null
            }
        }
    }
}

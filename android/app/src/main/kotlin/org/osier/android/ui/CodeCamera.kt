package org.osier.android.ui

import android.annotation.SuppressLint
import android.content.Context
import android.graphics.ImageFormat
import android.hardware.camera2.CameraAccessException
import android.hardware.camera2.CameraCaptureSession
import android.hardware.camera2.CameraCharacteristics
import android.hardware.camera2.CameraDevice
import android.hardware.camera2.CameraManager
import android.hardware.camera2.CaptureRequest
import android.hardware.camera2.params.OutputConfiguration
import android.hardware.camera2.params.SessionConfiguration
import android.media.ImageReader
import android.os.Handler
import android.os.HandlerThread
import android.util.Log
import android.view.Surface

/** The camera at the back, with what it sees looked through for codes. What it found is told on the main thread. */
class CodeCamera(private val context: Context, private val found: (String) -> Unit, private val failed: () -> Unit) {
    private val thread = HandlerThread("camera").apply { start() }
    private val handler = Handler(thread.looper)
    private val main = Handler(context.mainLooper)
    private val reader = ImageReader.newInstance(WIDTH, HEIGHT, ImageFormat.YUV_420_888, 2)
    private var device: CameraDevice? = null
    @Volatile private var closed = false

    // The activity has asked for the permission.
    @SuppressLint("MissingPermission")
    fun open(preview: Surface) {
        reader.setOnImageAvailableListener({ look(it) }, handler)
        try {
            val manager = context.getSystemService(CameraManager::class.java)
            val id = manager.cameraIdList.firstOrNull { facesBack(manager, it) } ?: manager.cameraIdList.firstOrNull()
            if (id == null) failed() else manager.openCamera(id, Opened(preview), handler)
        } catch (error: CameraAccessException) {
            fail(error)
        }
    }

    private fun facesBack(manager: CameraManager, id: String) =
        manager.getCameraCharacteristics(id).get(CameraCharacteristics.LENS_FACING) == CameraCharacteristics.LENS_FACING_BACK

    private fun look(reader: ImageReader) {
        val image = reader.acquireLatestImage() ?: return
        val text = image.use {
            val plane = it.planes[0]
            val luma = ByteArray(plane.buffer.remaining()).also(plane.buffer::get)
            Codes.read(luma, plane.rowStride, it.width, it.height)
        }
        if (text != null) main.post { if (!closed) found(text) }
    }

    private fun fail(why: Exception?) {
        Log.w("osier", "the camera cannot be used", why)
        main.post { if (!closed) failed() }
    }

    fun close() {
        closed = true
        handler.post {
            device?.close()
            reader.close()
            thread.quitSafely()
        }
    }

    private inner class Opened(private val preview: Surface) : CameraDevice.StateCallback() {
        override fun onOpened(camera: CameraDevice) {
            device = camera
            val request = camera.createCaptureRequest(CameraDevice.TEMPLATE_PREVIEW).apply {
                addTarget(preview)
                addTarget(reader.surface)
                set(CaptureRequest.CONTROL_AF_MODE, CaptureRequest.CONTROL_AF_MODE_CONTINUOUS_PICTURE)
            }.build()
            val outputs = listOf(OutputConfiguration(preview), OutputConfiguration(reader.surface))
            val running = object : CameraCaptureSession.StateCallback() {
                override fun onConfigured(session: CameraCaptureSession) = start(session, request)

                override fun onConfigureFailed(session: CameraCaptureSession) = fail(null)
            }
            camera.createCaptureSession(SessionConfiguration(SessionConfiguration.SESSION_REGULAR, outputs, handler::post, running))
        }

        private fun start(session: CameraCaptureSession, request: CaptureRequest) {
            try {
                session.setRepeatingRequest(request, null, handler)
            } catch (error: CameraAccessException) {
                fail(error)
            } catch (error: IllegalStateException) {
                // Closed in between.
                fail(error)
            }
        }

        override fun onDisconnected(camera: CameraDevice) = camera.close()

        override fun onError(camera: CameraDevice, error: Int) {
            camera.close()
            fail(null)
        }
    }

    companion object {
        const val WIDTH = 1280
        const val HEIGHT = 720
    }
}

package org.osier.android.ui

import android.Manifest
import android.app.Activity
import android.content.Intent
import android.content.pm.PackageManager
import android.graphics.SurfaceTexture
import android.os.Bundle
import android.view.Gravity
import android.view.Surface
import android.view.TextureView
import android.view.ViewGroup.LayoutParams.MATCH_PARENT
import android.view.ViewGroup.LayoutParams.WRAP_CONTENT
import android.widget.FrameLayout
import org.osier.android.R

/** Shows what the camera sees until it has read an invite; the picture is neither kept nor sent. */
class ScanActivity : Activity(), TextureView.SurfaceTextureListener {
    private val ui by lazy { Ui(this) }
    private val preview by lazy { TextureView(this) }
    private val message by lazy {
        ui.text(getString(R.string.phone_android_scan_hint)).apply {
            gravity = Gravity.CENTER
            setPadding(ui.dp(24), ui.dp(20), ui.dp(24), ui.dp(20))
            setBackgroundColor(ui.color(R.color.card))
            accessibilityLiveRegion = android.view.View.ACCESSIBILITY_LIVE_REGION_POLITE
        }
    }
    private var camera: CodeCamera? = null

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        title = getString(R.string.phone_android_scan)
        val below = FrameLayout.LayoutParams(MATCH_PARENT, WRAP_CONTENT, Gravity.BOTTOM)
        setContentView(FrameLayout(this).apply {
            addView(preview, FrameLayout.LayoutParams(MATCH_PARENT, MATCH_PARENT))
            addView(message, below)
        })
        preview.surfaceTextureListener = this
        if (!mayUseCamera()) requestPermissions(arrayOf(Manifest.permission.CAMERA), CAMERA)
    }

    private fun mayUseCamera() = checkSelfPermission(Manifest.permission.CAMERA) == PackageManager.PERMISSION_GRANTED

    override fun onRequestPermissionsResult(requestCode: Int, permissions: Array<String>, grantResults: IntArray) {
        if (mayUseCamera()) open() else message.say(getString(R.string.phone_android_scan_forbidden))
    }

    override fun onResume() {
        super.onResume()
        open()
    }

    override fun onPause() {
        close()
        super.onPause()
    }

    private fun open() {
        val texture = preview.surfaceTexture ?: return
        if (camera != null || !mayUseCamera()) return
        camera = CodeCamera(this, ::read) { message.say(getString(R.string.phone_android_scan_failed)) }
        texture.setDefaultBufferSize(CodeCamera.WIDTH, CodeCamera.HEIGHT)
        camera?.open(Surface(texture))
    }

    private fun close() {
        camera?.close()
        camera = null
    }

    private fun read(text: String) {
        if (!text.startsWith(Invites.PREFIX)) return message.say(getString(R.string.phone_android_scan_other))
        setResult(RESULT_OK, Intent().putExtra(INVITE, text))
        finish()
    }

    override fun onSurfaceTextureAvailable(surface: SurfaceTexture, width: Int, height: Int) = open()

    override fun onSurfaceTextureSizeChanged(surface: SurfaceTexture, width: Int, height: Int) = Unit

    override fun onSurfaceTextureDestroyed(surface: SurfaceTexture): Boolean {
        close()
        return true
    }

    override fun onSurfaceTextureUpdated(surface: SurfaceTexture) = Unit

    companion object {
        const val INVITE = "invite"
        private const val CAMERA = 1
    }
}
